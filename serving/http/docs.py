"""The door of the documentation: the OpenAPI document, and a page made from it."""

from __future__ import annotations

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
    """Return the door. Both texts are made once: they depend on the settings alone."""
    routes = Blueprint("docs", __name__)
    document, page = orjson.dumps(openapi_document(settings)), docs_page(settings)

    def openapi() -> Response:
        return Response(document, content_type=JSON)

    def docs() -> Response:
        headers = {"Content-Security-Policy": _POLICY}
        return Response(page, content_type="text/html; charset=utf-8", headers=headers)

    routes.add_url_rule("/openapi.json", "openapi", openapi)
    routes.add_url_rule("/docs", "docs", docs)
    return Door(routes)
