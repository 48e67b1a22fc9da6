"""The doors of the service in one process: health, metrics, documents, and a door that is not there yet."""

from __future__ import annotations

import gzip
import json
import logging
import threading

import pytest
from flask import Blueprint, Response, g
from werkzeug.exceptions import BadGateway, HTTPException, MethodNotAllowed, NotFound
from werkzeug.test import TestResponse

from model.encoder import Encoder
from model.transport.local import encoder_in_process
from model.transport.stream import Abandoned
from serving.config.settings import load_settings
from serving.errors import TABLE, Code, ServiceError
from serving.http.app import create_app
from serving.http.door import Door
from serving.pipeline.predictor import Predictor
from serving.processes.assembly import read_context
from tests.support.app import App
from tests.support.encoders import CornerEncoder, ProbeEncoder
from tests.support.service import samples, wait_until
from tests.support.tissue import encode, instance, tissue

GOOD = instance(encode(tissue()[:224, :224]))


def test_health_says_which_encoder_answers(probe_app: App) -> None:
    answer = probe_app.get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.json()["model"] == "poisonable"
    assert answer.json()["device"] == "CPU"
    assert answer.json()["untrained"] is False


def test_an_encoder_that_is_still_loading_makes_health_and_predictions_503() -> None:
    loaded = threading.Event()

    def load() -> Encoder:
        assert loaded.wait(30)
        return ProbeEncoder()

    with App(load=load) as app:
        for answer in (app.get("/health"), app.predict(GOOD)):
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE_ERROR"
            assert int(answer.headers["Retry-After"]) >= 1
        loaded.set()
        wait_until(lambda: app.get("/health").status_code == 200, "health")
        assert app.predict(GOOD).status_code == 200


def test_an_encoder_that_is_gone_makes_a_predictor_unready() -> None:
    context = read_context(load_settings())
    with encoder_in_process(CornerEncoder) as encoder:
        wait_until(lambda: encoder.facts is not None, "the encoder")
        predictor = Predictor(encoder, context, threads=1, max_reads=10)
        assert predictor.require_ready().model == "corner"
    with pytest.raises(ServiceError) as caught:
        predictor.require_ready()
    assert caught.value.code is Code.SERVICE_UNAVAILABLE_ERROR
    context.decoders.close()


def test_a_request_beyond_its_time_is_503_and_says_what_to_do() -> None:
    encoder = CornerEncoder()
    encoder.gate.clear()
    try:
        with App({"PATHSERVE_REQUEST_TIMEOUT_S": "0.2"}, load=lambda: encoder) as app:
            wait_until(lambda: app.get("/health").status_code == 200, "the encoder")
            answer = app.predict(GOOD)
            encoder.gate.set()
        assert answer.status_code == 503
        assert "time limit" in answer.json()["error"]["description"]
    finally:
        encoder.gate.set()


def test_metrics_count_requests_instances_and_patches() -> None:
    with App() as app:
        app.predict(instance(encode(tissue()), (0, 0), (5, 5)), 5)
        app.post("/predict", b"{")
        found = samples(app.get("/metrics").text)
    assert found['pathserve_requests_total{code="ok",status="200"}'] == 1
    assert found['pathserve_requests_total{code="INVALID_REQUEST_FIELD_ERROR",status="400"}'] == 1
    assert found['pathserve_instances_total{code="ok"}'] == 1
    assert found['pathserve_instances_total{code="INVALID_REQUEST_FIELD_ERROR"}'] == 1
    assert found["pathserve_patches_total"] == 2
    for stage in ("parse", "decode", "colour", "queue", "encode", "serialise"):
        assert found[f'pathserve_stage_seconds_count{{stage="{stage}"}}'] >= 1


def test_only_predictions_are_counted_and_logged_as_such(probe_app: App) -> None:
    before = len(probe_app.log_lines())
    for path in ("/health", "/metrics", "/openapi.json", "/docs", "/nowhere"):
        assert "X-Request-Id" not in probe_app.get(path).headers
    assert not [line for line in probe_app.log_lines()[before:] if line["message"] == "predict"]


def test_routes_are_where_the_settings_say() -> None:
    with App({"AIP_PREDICT_ROUTE": "/here", "AIP_HEALTH_ROUTE": "/there"}) as app:
        assert app.get("/there").status_code == 200
        assert app.post("/here", {"instances": [GOOD]}).status_code == 200
        assert app.get("/health").status_code == 404
        assert app.predict(GOOD).status_code == 404


def test_a_gzip_body_is_read_and_another_coding_refused_with_the_one_to_use(probe_app: App) -> None:
    body = gzip.compress(json.dumps({"instances": [GOOD]}).encode())
    answer = probe_app.post("/predict", body, headers={"Content-Encoding": "gzip"})
    assert "result" in answer.json()["predictions"][0]
    answer = probe_app.post("/predict", body, headers={"Content-Encoding": "br"})
    assert answer.status_code == 415
    assert answer.headers["Accept-Encoding"] == "gzip"
    assert answer.json()["error"]["code"] == "CONTENT_ENCODING_ERROR"


def test_a_new_door_is_a_blueprint_and_gets_headers_and_errors_as_all_do() -> None:
    routes = Blueprint("page", __name__)
    routes.add_url_rule("/page/<int:number>", "page", lambda number: Response(str(number)))
    client = create_app([Door(routes)]).test_client()
    answer = client.get("/page/7")
    assert answer.get_data() == b"7"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get("/page/x").get_json()["error"]["code"] == "NOT_FOUND_ERROR"


def test_a_door_names_its_endpoints_as_the_application_does() -> None:
    door = Door(Blueprint("page", __name__), frozenset({"upload"}))
    assert door.endpoints_with_body == {"page.upload"}


def answer_of(error: Exception) -> tuple[TestResponse, str]:
    """Return what a door that fails so answers, and what the log is to call it."""
    routes = Blueprint("failing", __name__)
    outcomes: list[str] = []

    def fail() -> Response:
        raise error

    def note(response: Response) -> Response:
        outcomes.append(g.outcome)
        return response

    routes.add_url_rule("/", "fail", fail)
    routes.after_request(note)
    return create_app([Door(routes)]).test_client().get("/"), outcomes[0]


@pytest.mark.parametrize("code", [code for code, row in TABLE.items() if row.status])
def test_every_error_that_fails_a_request_is_answered_by_the_table(code: Code) -> None:
    response, outcome = answer_of(ServiceError(code, "What to do about it.", retry_after_s=3))
    assert response.status_code == TABLE[code].status
    assert response.get_json() == {"error": {"code": code, "description": "What to do about it."}}
    assert response.headers["Retry-After"] == "3"
    assert outcome == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound(), Code.NOT_FOUND_ERROR),
        (MethodNotAllowed(["PUT", "POST"]), Code.METHOD_NOT_ALLOWED_ERROR),
        (HTTPException(response=None), Code.INVALID_REQUEST_FIELD_ERROR),
    ],
)
def test_what_werkzeug_refuses_is_answered_by_the_table(error: HTTPException, code: Code) -> None:
    if error.code is None:
        error.code = 418  # of no row
    response, outcome = answer_of(error)
    assert response.status_code == TABLE[code].status
    assert response.get_json()["error"] == {"code": code, "description": TABLE[code].meaning}
    assert response.headers.get("Allow") == ("POST, PUT" if code is Code.METHOD_NOT_ALLOWED_ERROR else None)
    assert outcome == code


@pytest.mark.parametrize("error", [RuntimeError("planted"), BadGateway("planted")])
def test_what_nobody_foresaw_is_a_500_that_is_logged_and_quotes_nothing(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response, outcome = answer_of(error)
    assert response.status_code == 500
    assert b"planted" not in response.get_data()
    assert outcome == Code.INTERNAL_ERROR
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_client_that_has_gone_is_called_so_in_the_log() -> None:
    response, outcome = answer_of(Abandoned())
    assert (response.status_code, outcome) == (499, "client gone")
