"""Which requests are read to the end of their body: decided from the head, before any of the body is read."""

from __future__ import annotations

from collections.abc import Collection

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from serving.front.application import Course
from serving.front.body import is_gzip, too_large
from serving.front.head import Head
from serving.http.access import ApiKeys


class Gate:
    """Judges heads.

    Parameters
    ----------
    routes:
        All routes of the application.
    with_body:
        Names of the endpoints whose requests have a body.
    limit:
        Most bytes of a body.
    reading:
        Names of the endpoints without a body that read images.
    """

    def __init__(
        self,
        routes: Map,
        with_body: Collection[str],
        keys: ApiKeys,
        limit: int,
        reading: Collection[str] = (),
    ) -> None:
        self._routes = routes.bind("pathserve")  # any host will do: no route depends on it
        self._with_body = frozenset(with_body)
        self._reading = frozenset(reading)
        self._keys = keys
        self.limit = limit

    def course(self, head: Head) -> Course:
        """Return whether a request is answered with its body; any other body need not be read.

        Raises
        ------
        ServiceError
            API_KEY_ERROR, REQUEST_TOO_LARGE_ERROR or CONTENT_ENCODING_ERROR for a request that is
            refused whatever its body holds.
        """
        try:
            path = head.path.encode("latin-1").decode("utf-8", "replace")
            endpoint, _ = self._routes.match(path, head.method)
        except HTTPException:
            return Course.AT_ONCE  # the application says why
        if endpoint not in self._with_body and endpoint not in self._reading:
            return Course.AT_ONCE
        self._keys.require(head.header("authorization"))
        if endpoint in self._reading:
            return Course.READING
        is_gzip(head.header("content-encoding"))
        if head.content_length is not None and head.content_length > self.limit:
            raise too_large()
        return Course.WHOLE
