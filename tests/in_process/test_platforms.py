"""KServe's V1 protocol and SageMaker's two routes: other doors to the same predictions."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from model.encoder import Encoder
from tests.support.app import App
from tests.support.encoders import ProbeEncoder
from tests.support.service import samples, wait_until
from tests.support.vertex import CUT_OFF, GOOD

KEY = "a key of sixteen or more"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
PREDICT = ["/v1/models/poisonable:predict", "/invocations"]


class Untrained(ProbeEncoder):
    """The probe, as if its weights were random."""

    facts = dataclasses.replace(ProbeEncoder.facts, model="probe-untrained", untrained=True)


@pytest.fixture(scope="module")
def named() -> Iterator[App]:
    """An application whose operator has named its model, which is untrained."""
    with App({"PATHSERVE_MODEL_NAME": "pathology"}, load=Untrained) as app:
        wait_until(lambda: app.get("/ping").status_code == 200, "the encoder")
        yield app


@pytest.fixture(scope="module")
def locked() -> Iterator[App]:
    with App({"PATHSERVE_API_KEYS": KEY}) as app:
        yield app


@pytest.mark.parametrize("route", PREDICT)
def test_they_answer_as_predict_does(probe_app: App, route: str) -> None:
    body = {"instances": [GOOD, CUT_OFF, 5], "parameters": {"encoding": "base64-float32"}}
    usual, answer = probe_app.post("/predict", body), probe_app.post(route, body)
    assert answer.status_code == 200
    assert answer.content == usual.content
    assert [p["error"]["code"] for p in answer.json()["predictions"][1:]] == [
        "IMAGE_ERROR",
        "INVALID_REQUEST_FIELD_ERROR",
    ]


@pytest.mark.parametrize("route", PREDICT)
@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "INVALID_REQUEST_FIELD_ERROR"),
        (b'{"inputs": [1]}', {}, 400, "INVALID_REQUEST_FIELD_ERROR"),
        (b"{}", {"Content-Encoding": "br"}, 415, "CONTENT_ENCODING_ERROR"),
    ],
)
def test_a_request_that_cannot_be_read_fails_by_the_table(
    probe_app: App, route: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = probe_app.post(route, body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["X-Request-Id"]


def test_kserve_is_told_the_models_own_name(probe_app: App) -> None:
    assert probe_app.get("/").json() == {"status": "alive"}
    assert probe_app.get("/v1/models").json() == {"models": ["poisonable"]}
    ready = probe_app.get("/v1/models/poisonable").json()
    assert ready == {"name": "poisonable", "ready": True, "model": "poisonable", "untrained": False}


def test_a_name_that_was_given_hides_no_untrained_model(named: App) -> None:
    assert named.get("/v1/models").json() == {"models": ["pathology"]}
    ready = named.get("/v1/models/pathology").json()
    assert ready == {"name": "pathology", "ready": True, "model": "probe-untrained", "untrained": True}
    answer = named.post("/v1/models/pathology:predict", {"instances": [GOOD]}).json()
    assert (answer["model"], answer["metadata"]["untrained"]) == ("probe-untrained", True)
    assert named.get("/v1/models/probe-untrained").status_code == 404


@pytest.mark.parametrize(
    "name", ["other", "Poisonable", "poisonable:predict", "a%20b", "%F0%9F%94%AC", "a%2Fb"]
)
def test_another_name_is_404_with_what_to_do(probe_app: App, name: str) -> None:
    posted = probe_app.post(f"/v1/models/{name}:predict", {"instances": [GOOD]})
    for answer in (probe_app.get(f"/v1/models/{name}"), posted):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "NOT_FOUND_ERROR"
    if "%2F" not in name:  # which is another path
        assert "poisonable" in posted.json()["error"]["description"]
        assert posted.headers["X-Request-Id"]


def test_before_the_model_is_loaded_it_is_alive_and_not_ready() -> None:
    loaded = threading.Event()

    def load() -> Encoder:
        assert loaded.wait(30)
        return ProbeEncoder()

    with App({"PATHSERVE_MODEL_NAME": "given"}, load=load) as given, App(load=load) as app:
        assert app.get("/").status_code == 200
        assert given.get("/v1/models").json() == {"models": ["given"]}
        assert given.get("/v1/models/other").status_code == 404
        body = {"instances": [GOOD]}
        for answer in (
            app.get("/ping"),
            app.get("/v1/models"),
            app.get("/v1/models/poisonable"),
            app.post("/v1/models/poisonable:predict", body),
            app.post("/invocations", body),
            given.get("/v1/models/given"),
            given.post("/v1/models/given:predict", body),
        ):
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE_ERROR"
            assert int(answer.headers["Retry-After"]) >= 1
        loaded.set()
        wait_until(lambda: app.get("/v1/models/poisonable").status_code == 200, "the model")
        wait_until(lambda: given.get("/v1/models/given").status_code == 200, "the model with a name")


def test_sagemaker_gets_an_empty_200(probe_app: App) -> None:
    answer = probe_app.get("/ping")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({ATTRIBUTES: "scan-7"}, "scan-7"),
        ({ATTRIBUTES: "scan-7", "X-Request-Id": "other"}, "scan-7"),
        ({"X-Request-Id": "other"}, "other"),
        ({ATTRIBUTES: "a=b, c=d", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}, "ab" * 16),
    ],
)
def test_custom_attributes_carry_the_requests_id(probe_app: App, headers: dict[str, str], found: str) -> None:
    for body, status in ((b"{", 400), ({"instances": [GOOD]}, 200)):
        before = len(probe_app.log_lines())
        answer = probe_app.post("/invocations", body, headers=headers)
        assert answer.status_code == status
        assert answer.headers[ATTRIBUTES] == answer.headers["X-Request-Id"] == found
        assert [line["request_id"] for line in probe_app.log_lines()[before:]] == [found]


def test_custom_attributes_that_are_no_id_are_neither_logged_nor_returned(probe_app: App) -> None:
    answer = probe_app.post("/invocations", b"{", headers={ATTRIBUTES: "patient=Jane Doe"})
    assert "Jane" not in answer.headers[ATTRIBUTES]
    assert "Jane" not in probe_app.log()


@pytest.mark.parametrize("route", [*PREDICT, "/v1/models/unknown:predict"])
def test_predictions_require_a_key_and_probes_none(locked: App, route: str) -> None:
    answer = locked.post(route, {"instances": [GOOD]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "API_KEY_ERROR")
    assert "poisonable" not in answer.text
    allowed = locked.post(route, {"instances": [GOOD]}, headers={"Authorization": f"Bearer {KEY}"})
    assert allowed.status_code == (404 if "unknown" in route else 200)
    for probe in ("/", "/ping", "/v1/models", "/v1/models/poisonable"):
        assert locked.get(probe).status_code == 200


def test_what_they_answer_is_counted_as_predictions_are() -> None:
    with App() as app:
        app.post("/invocations", {"instances": [GOOD]})
        app.post("/v1/models/poisonable:predict", {"instances": [GOOD]})
        app.post("/v1/models/other:predict", {"instances": [GOOD]})
        for probe in ("/", "/ping", "/v1/models", "/v1/models/poisonable", "/v1/models/other"):
            app.get(probe)
        found = samples(app.get("/metrics").text)
    assert found['pathserve_requests_total{code="ok",status="200"}'] == 2
    assert found['pathserve_requests_total{code="NOT_FOUND_ERROR",status="404"}'] == 1
    assert found["pathserve_request_seconds_count"] == 3


@pytest.mark.parametrize(
    ("predict", "health"),
    [
        ("/invocations", "/ping"),
        ("/ping", "/invocations"),
        ("/", "/v1/models"),
        ("/v1/models/mine:predict", "/v1/models/mine"),
        ("/v1/models/mine", "/"),
    ],
)
def test_a_route_that_the_settings_name_is_theirs(predict: str, health: str) -> None:
    with App({"AIP_PREDICT_ROUTE": predict, "AIP_HEALTH_ROUTE": health}) as app:
        assert app.get(health).json()["status"] == "ok"
        answer = app.post(predict, {"instances": [GOOD]})
        assert "result" in answer.json()["predictions"][0]
        document: dict[str, Any] = app.get("/openapi.json").json()
        assert document["paths"][predict]["post"]["operationId"] == "predict"
        assert document["paths"][health]["get"]["operationId"] == "health"
        # What else is at the same path stays.
        assert app.get("/ping").status_code == 200
        assert "result" in app.post("/invocations", {"instances": [GOOD]}).json()["predictions"][0]


def test_the_openapi_document_names_an_operation_once(probe_app: App) -> None:
    document = probe_app.get("/openapi.json").json()
    operations = [o["operationId"] for methods in document["paths"].values() for o in methods.values()]
    assert len(operations) == len(set(operations))
    schema = document["components"]["schemas"]["PredictResponse"]
    for route in PREDICT:
        jsonschema.validate(probe_app.post(route, {"instances": [GOOD]}).json(), schema)
