"""The OpenAPI 3.1 document of the group, and a page made from it that loads nothing."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from serving.api.json_schema import Schema
from serving.api.schema import failed_request
from serving.config.settings import Settings
from serving.webhooks.webhook import Webhook

FAILED = {"application/json": {"schema": {"$ref": "#/components/schemas/FailedRequest"}}}


def openapi_document(settings: Settings, webhooks: Sequence[Webhook]) -> dict[str, Any]:
    """Return the document: what the services say about themselves, and the group's own routes."""
    paths: dict[str, Mapping[str, Schema]] = {}
    schemas: dict[str, Schema] = {"FailedRequest": failed_request()}
    for webhook in webhooks:
        paths |= webhook.paths(settings)
        schemas |= webhook.schemas()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pathserve webhooks",
            "version": version("pathserve"),
            "description": "Analyses of slides that other systems ask for.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths | {"/health": {"get": _health()}, "/metrics": {"get": _metrics()}},
        "components": {"schemas": schemas},
    }


def docs_page(document: Mapping[str, Any]) -> str:
    """Return the document's routes as an HTML page."""
    e = html.escape
    rows = "".join(
        f"<tr><td>{e(method.upper())}</td><td><code>{e(path)}</code></td>"
        f"<td>{e(str(what.get('summary', '')))}</td></tr>"
        for path, methods in document["paths"].items()
        for method, what in methods.items()
    )
    return _PAGE.format(version=e(document["info"]["version"]), rows=rows)


def _health() -> Schema:
    return {
        "operationId": "health",
        "summary": "Whether jobs are taken and done",
        "responses": {
            "200": {
                "description": "The database answers, the runner lives, and what embeds is ready.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "503": {"description": "Something is not well; the description says what.", "content": FAILED},
        },
    }


def _metrics() -> Schema:
    return {
        "operationId": "metrics",
        "summary": "Metrics for Prometheus",
        "responses": {
            "200": {
                "description": "Samples as text.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
            "401": {"description": "A key of PATHSERVE_API_KEYS is needed.", "content": FAILED},
        },
    }


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>pathserve webhooks</title><style>
body {{ font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
td {{ padding: .2em .8em .2em 0; vertical-align: top; }}
</style></head><body>
<h1>pathserve webhooks {version}</h1>
<p>Analyses of slides that other systems ask for. For machines: <a href="/openapi.json">openapi.json</a>.</p>
<table>{rows}</table></body></html>
"""
