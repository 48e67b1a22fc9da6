"""Which requests come in with their body: known by the head, before anything of the body is read."""

from __future__ import annotations

from collections.abc import Collection

from flask import Flask
from werkzeug.exceptions import HTTPException

from serving.front.access import ApiKeys
from serving.front.body import is_gzip, too_large
from serving.front.head import Head


class Gate:
    """Judges heads.

    Parameters
    ----------
    app:
        Knows the routes.
    with_body:
        Names of the endpoints whose requests have a body: the predictions.
    limit:
        Most bytes of a body.
    """

    def __init__(self, app: Flask, with_body: Collection[str], keys: ApiKeys, limit: int) -> None:
        self._routes = app.url_map.bind("pathserve")
        self._with_body = frozenset(with_body)
        self._keys = keys
        self.limit = limit

    def wants_body(self, head: Head) -> bool:
        """Say whether a request is to be answered with its body, or without: then it need not be read.

        Raises
        ------
        ServiceError
            API_KEY_ERROR, REQUEST_TOO_LARGE_ERROR or CONTENT_ENCODING_ERROR for a prediction that is
            refused whatever its body holds.
        """
        try:
            path = head.path.encode("latin-1").decode("utf-8", "replace")
            endpoint, _ = self._routes.match(path, head.method)
        except HTTPException:
            return False  # the application says why
        if endpoint not in self._with_body:
            return False
        self._keys.require(head.header("authorization"))
        is_gzip(head.header("content-encoding"))
        if head.content_length is not None and head.content_length > self.limit:
            raise too_large()
        return True
