"""The documentation as a page for people; it loads nothing else, and no script."""

from __future__ import annotations

import html
from importlib.metadata import version

from serving.api import schema as api_schema
from serving.api.json_schema import Schema
from serving.api.openapi import paths
from serving.config.settings import Settings
from serving.errors import TABLE


def docs_page(settings: Settings) -> str:
    """Return the documentation as one HTML page that loads nothing else."""
    e = html.escape
    routes = "".join(
        f"<tr><td>{method.upper()}</td><td><code>{e(path)}</code></td><td>{e(str(what['summary']))}</td></tr>"
        for path, methods in paths(settings).items()
        for method, what in methods.items()
    )
    codes = "".join(
        f"<tr><td><code>{code}</code></td>"
        f"<td>{'instance' if row.in_instance else ''} {row.status.value if row.status else ''}</td>"
        f"<td>{e(row.meaning)}</td></tr>"
        for code, row in TABLE.items()
    )
    return _PAGE.format(
        version=e(version("pathserve")),
        routes=routes,
        request=_schema_html("instances[…]", api_schema.instance())
        + _schema_html("parameters", api_schema.parameters()),
        response=_schema_html("predictions[…]", api_schema.prediction()),
        codes=codes,
    )


def _schema_html(name: str, schema: Schema) -> str:
    """Return a schema as nested lists."""
    inner = ""
    for key, value in _children(schema):
        inner += _schema_html(key, value)
    kind = schema.get("type", "")
    enum = schema.get("enum")
    choices = f" one of {', '.join(map(str, enum))}" if isinstance(enum, list) else ""
    about = html.escape(f"{schema.get('description', '')}{choices}")
    line = f"<code>{html.escape(name)}</code> <i>{kind}</i> {about}"
    return f"<ul><li>{line}{inner}</li></ul>"


def _children(schema: Schema) -> list[tuple[str, Schema]]:
    items, properties = schema.get("items"), schema.get("properties")
    found: list[tuple[str, Schema]] = []
    if isinstance(items, dict) and "properties" in items:
        found.append(("[…]", items))
    if isinstance(properties, dict):
        found += properties.items()
    return found


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>pathserve</title><style>
body {{ font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
td {{ padding: .2em .8em .2em 0; vertical-align: top; }} ul {{ margin: .2em 0; }}
</style></head><body>
<h1>pathserve {version}</h1>
<p>Embeddings of patches of whole-slide images, by the Path Foundation predict API.
For machines: <a href="/openapi.json">openapi.json</a>.</p>
<h2>Routes</h2><table>{routes}</table>
<h2>Request</h2>
<p>A JSON object with <code>instances</code> and, where wanted, <code>parameters</code>.</p>{request}
<h2>Answer</h2>
<p>A JSON object with <code>predictions</code>, one for each instance, in their order.</p>{response}
<h2>Errors</h2><p>In an instance's prediction, or with an HTTP status for the whole request.</p>
<table>{codes}</table></body></html>
"""
