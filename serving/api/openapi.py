"""The OpenAPI 3.1 document of the service."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version

from serving.api import provenance_schema
from serving.api import schema as api_schema
from serving.api.check_schema import check_response
from serving.api.json_schema import Schema
from serving.api.table import MEDIA_TYPE as ARROW
from serving.config.settings import Settings
from serving.errors import TABLE

_JSON = "application/json"

CHECK_ROUTE = "/check"
"""Where a request is checked before it is sent."""


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
                "Provenance": provenance_schema.provenance(),
            }
        },
    }


def paths(settings: Settings) -> dict[str, dict[str, Schema]]:
    """Return the routes and what they do."""
    found = {
        settings.http.predict_route: {"post": _predict("predict", "Embed patches")},
        CHECK_ROUTE: {"post": _check()},
        settings.http.health_route: {"get": _health()},
        "/metrics": {"get": _metrics()},
    }
    for path, methods in _of_platforms().items():
        found[path] = methods | found.get(path, {})  # a route that is a setting may be one of these
    return found


def _of_platforms() -> dict[str, dict[str, Schema]]:
    """Return the routes of KServe's V1 protocol and of SageMaker."""
    return {
        "/": {"get": _probe("kserveAlive", "Whether the server lives, for KServe", may_fail=False)},
        "/v1/models": {"get": _probe("kserveModels", "The model's name, for KServe")},
        "/v1/models/{name}": {
            "get": _of_model(_probe("kserveReady", "Whether the model is ready, for KServe"))
        },
        "/v1/models/{name}:predict": {
            "post": _of_model(_predict("kservePredict", "Embed patches, as KServe asks"))
        },
        "/ping": {"get": _ping()},
        "/invocations": {"post": _predict("sagemakerInvocations", "Embed patches, as SageMaker asks")},
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


def _predict(operation: str, summary: str) -> Schema:
    return {
        "operationId": operation,
        "summary": summary,
        "description": "Faults of single instances are in their predictions and harm no other instance.",
        "requestBody": {"required": True, "content": {_JSON: {"schema": _reference("PredictRequest")}}},
        "responses": {
            "200": _predictions(),
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


def _predictions() -> Schema:
    """Return the answer, which Accept chooses the form of."""
    table = {"type": "string", "format": "binary", "description": "An Arrow IPC stream; see docs/api.md."}
    return {
        "description": "A prediction for each instance.",
        "content": {_JSON: {"schema": _reference("PredictResponse")}, ARROW: {"schema": table}},
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


def _of_model(operation: Schema) -> Schema:
    """Return an operation on the model that the path names; another name is a 404."""
    name: Schema = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    responses = operation["responses"]
    assert isinstance(responses, dict)
    return operation | {"parameters": [name], "responses": responses | _failures(HTTPStatus.NOT_FOUND)}


def _probe(operation: str, summary: str, *, may_fail: bool = True) -> Schema:
    """Return a question without a body that is answered by a small object."""
    answer = {"description": "It is.", "content": {_JSON: {"schema": {"type": "object"}}}}
    failures = _failures(HTTPStatus.SERVICE_UNAVAILABLE) if may_fail else {}
    return {"operationId": operation, "summary": summary, "responses": {"200": answer, **failures}}


def _ping() -> Schema:
    return {
        "operationId": "sagemakerPing",
        "summary": "Whether the encoder answers, for SageMaker",
        "responses": {
            "200": {"description": "It does. The body is empty.", "content": {"text/plain": {}}},
            **_failures(HTTPStatus.SERVICE_UNAVAILABLE),
        },
    }
