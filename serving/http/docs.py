"""The door of the documentation: the OpenAPI document, and a page made from it."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from flask import Blueprint, Response

from serving.api.docs_page import docs_page
from serving.api.openapi import openapi_document
from serving.config.settings import Settings
from serving.http.answers import JSON
from serving.http.door import Door

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""The page contains its style and loads nothing."""


def docs_door(settings: Settings) -> Door:
    """Return the door of the predict API's documentation."""
    return door_of(openapi_document(settings), docs_page(settings))


def door_of(document: Mapping[str, object], page: str) -> Door:
    """Return the door of an OpenAPI document and its page, both made once: they depend on settings alone."""
    routes = Blueprint("docs", __name__)
    text = orjson.dumps(document)

    def openapi() -> Response:
        return Response(text, content_type=JSON)

    def docs() -> Response:
        headers = {"Content-Security-Policy": _POLICY}
        return Response(page, content_type="text/html; charset=utf-8", headers=headers)

    routes.add_url_rule("/openapi.json", "openapi", openapi)
    routes.add_url_rule("/docs", "docs", docs)
    return Door(routes)
