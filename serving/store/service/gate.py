"""How a request of the store is served, decided from its head: nobody sends gigabytes in vain."""

from __future__ import annotations

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from serving.errors import Code, ServiceError
from serving.front.application import Course
from serving.front.body import is_gzip, too_large
from serving.front.head import Head
from serving.store.access.tokens import Tokens
from serving.store.service.rights import Rights

MAX_SMALL_BODY_BYTES = 1 << 20
"""Largest body that is collected in memory; instances are never."""


class StoreGate:
    """Judges heads; the right to enter is asked for here where a body would be read, and by the guard always.

    Parameters
    ----------
    routes:
        All routes of the application.
    """

    limit = MAX_SMALL_BODY_BYTES

    def __init__(self, routes: Map, rights: Rights, tokens: Tokens) -> None:
        self._routes = routes.bind("pathserve")  # any host will do: no route depends on it
        self._rights = rights
        self._tokens = tokens

    def course(self, head: Head) -> Course:
        """Return how a request is served.

        Raises
        ------
        ServiceError
            API_KEY_ERROR, FORBIDDEN_ERROR, REQUEST_TOO_LARGE_ERROR or CONTENT_ENCODING_ERROR for a request
            with a body that is refused whatever the body holds.
        """
        try:
            path = head.path.encode("latin-1").decode("utf-8", "replace")
            endpoint, _ = self._routes.match(path, head.method)
        except HTTPException:
            return Course.AT_ONCE  # the application says why
        right = self._rights.of(endpoint)
        if head.method == "OPTIONS" or right.is_at_once:
            return Course.AT_ONCE
        if endpoint not in self._rights.with_body and endpoint not in self._rights.streamed:
            return Course.BODILESS
        if right.role is not None:
            self._tokens.authorise(head.header("authorization"), right.role)
        if endpoint in self._rights.streamed:
            if is_gzip(head.header("content-encoding")):
                raise ServiceError(
                    Code.CONTENT_ENCODING_ERROR,
                    "Send instances without Content-Encoding.",
                )
            return Course.STREAMED
        if head.content_length is not None and head.content_length > self.limit:
            raise too_large()
        is_gzip(head.header("content-encoding"))
        return Course.WHOLE
