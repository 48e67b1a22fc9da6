"""The OpenAPI 3.1 document of the service."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version

from serving.api import schema as api_schema
from serving.api.check_schema import check_response
from serving.api.json_schema import Schema
from serving.config.settings import Settings
from serving.errors import TABLE

_JSON = "application/json"


def openapi_document(settings: Settings) -> Schema:
    """Return the document, with the routes that this service answers on."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pathserve",
            "version": version("pathserve"),
            "description": "Embeddings of patches of whole-slide images, by the Path Foundation predict API.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths(settings),
        "components": {
            "schemas": {
                "PredictRequest": api_schema.predict_request(),
                "PredictResponse": api_schema.predict_response(),
                "CheckResponse": check_response(),
                "FailedRequest": api_schema.failed_request(),
            }
        },
    }


def paths(settings: Settings) -> dict[str, dict[str, Schema]]:
    """Return the routes and what they do."""
    return {
        settings.http.predict_route: {"post": _predict()},
        CHECK_ROUTE: {"post": _check()},
        settings.http.health_route: {"get": _health()},
        "/metrics": {"get": _metrics()},
    }


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(description: str, name: str) -> Schema:
    return {"description": description, "content": {_JSON: {"schema": _reference(name)}}}


def _failures(*statuses: HTTPStatus) -> dict[str, Schema]:
    """Return the answers of requests that failed whole, with the codes that each status may have."""
    answers = {}
    for status in statuses:
        codes = [code for code, row in TABLE.items() if row.status == status]
        answers[str(status.value)] = _answer(" or ".join(codes), "FailedRequest")
    return answers


CHECK_ROUTE = "/check"
"""Where a request is checked before it is sent."""


def _predict() -> Schema:
    return {
        "operationId": "predict",
        "summary": "Embed patches",
        "description": "Faults of single instances are in their predictions and harm no other instance.",
        "requestBody": {"required": True, "content": {_JSON: {"schema": _reference("PredictRequest")}}},
        "responses": {
            "200": _answer("A prediction for each instance.", "PredictResponse"),
            **_failures(*(row.status for row in TABLE.values() if row.status not in (None, *_OTHER_ROUTES))),
        },
    }


def _check() -> Schema:
    return {
        "operationId": "check",
        "summary": "Check a request before it is sent",
        "description": "What a prediction of the same request would come to; no frame is fetched, no pixel "
        "decoded. What only pixels can tell, such as a frame that is cut off, is not found.",
        "requestBody": {"required": True, "content": {_JSON: {"schema": _reference("PredictRequest")}}},
        "responses": {
            "200": _answer("A verdict for each instance.", "CheckResponse"),
            **_failures(*(row.status for row in TABLE.values() if row.status not in (None, *_OTHER_ROUTES))),
        },
    }


_OTHER_ROUTES = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


def _health() -> Schema:
    return {
        "operationId": "health",
        "summary": "Whether the encoder answers",
        "responses": {
            "200": {
                "description": "A warm-up batch has gone through the encoder, and it still answers.",
                "content": {_JSON: {"schema": {"type": "object"}}},
            },
            **_failures(HTTPStatus.SERVICE_UNAVAILABLE),
        },
    }


def _metrics() -> Schema:
    text = {"schema": {"type": "string"}}
    return {
        "operationId": "metrics",
        "summary": "Metrics for Prometheus",
        "responses": {
            "200": {"description": "Samples as text.", "content": {"text/plain": text}},
            **_failures(HTTPStatus.UNAUTHORIZED),
        },
    }
