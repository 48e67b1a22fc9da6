"""The served OpenAPI document, taken at its word by a generator of requests."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.app import ServedApp

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

SAME = ("/v1/models/{name}:predict", "/invocations")
"""What is asked as the predict route is."""

MODEL = ("", "/{name}", "/{name}:predict")


def test_every_answer_is_as_documented(served_app: ServedApp) -> None:
    api = schemathesis.openapi.from_url(f"{served_app.url}/openapi.json")
    operations = [found.ok() for found in api.get_all_operations() if isinstance(found, Ok)]
    of_vertex, of_kserve = {"/predict", "/health", "/metrics"}, {"/", *(f"/v1/models{x}" for x in MODEL)}
    others = {"/check", "/ping", "/invocations"}
    assert {operation.path for operation in operations} == of_vertex | of_kserve | others
    for operation in operations:
        examples = 15 if operation.path in SAME else 60

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case[Any]) -> None:
            answer = case.call(base_url=served_app.url, session=served_app.session, timeout=60)
            case.validate_response(answer, checks=CHECKS)

        check()
