"""The HTTP application: routes, and the one place where errors become answers."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import orjson
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from model.encoder import EncoderFacts
from model.transport.client import EncoderClient
from model.transport.stream import Abandoned
from serving.api.docs_page import docs_page
from serving.api.openapi import openapi_document
from serving.api.request import parse_request
from serving.api.response import error_body, metadata, model_version, prediction_body
from serving.config.settings import Settings
from serving.errors import TABLE, Code, Fault, ServiceError
from serving.front.access import ApiKeys, secured
from serving.front.gate import Gate
from serving.front.wsgi_bridge import RECEIVED, Answer, Application, Received
from serving.http.body import unwrapped, wrap
from serving.pipeline.predictor import Predictor
from serving.telemetry.request_record import RequestRecord, Telemetry, request_id

VERTEX_ROUTE = "/v1/projects/<project>/locations/<location>/endpoints/<endpoint>"
"""Where Google's client library finds an endpoint when it is pointed at this service."""

_JSON = "application/json"
_CLIENT_GONE = 499
"""What the log calls a request whose client hung up; nobody reads it."""

_RAW_PREDICT = "vertex_rawPredict"
_PREDICTIONS = ("predict", "vertex_predict", _RAW_PREDICT)
"""Endpoints whose requests have a body."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpApplication:
    """What the HTTP front serves.

    Attributes
    ----------
    wsgi:
        Answers requests that have arrived completely.
    gate:
        Says by the head which requests come in.
    refusal:
        Answers what is not even a request.
    """

    wsgi: Application
    gate: Gate
    refusal: Callable[[ServiceError], Answer]


def create_app(settings: Settings, encoder: EncoderClient, predictor: Predictor) -> HttpApplication:
    """Return the application.

    Parameters
    ----------
    encoder:
        A started client of the encoder process.
    """
    app = Flask("pathserve", static_folder=None)
    telemetry = Telemetry(settings.shared.metrics)
    keys = ApiKeys(settings.http.api_keys)
    endpoint = _PredictEndpoint(settings, predictor, telemetry)

    def health() -> Response:
        facts = encoder.facts
        if facts is None or not encoder.healthy:
            raise ServiceError(Code.SERVICE_UNAVAILABLE_ERROR, "The encoder is not ready.", retry_after_s=1)
        if not predictor.decodes:
            raise ServiceError(
                Code.SERVICE_UNAVAILABLE_ERROR, "Images are not being decoded any more.", retry_after_s=1
            )
        body = orjson.dumps({"status": "ok", "model": facts.model, **metadata(facts)})
        return Response(body, content_type=_JSON)

    def metrics() -> Response:
        keys.require(request.headers.get("Authorization"))
        return Response(telemetry.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")

    def vertex_endpoint(project: str, location: str, endpoint: str) -> Response:
        keys.require(request.headers.get("Authorization"))
        body = {
            "name": f"projects/{project}/locations/{location}/endpoints/{endpoint}",
            "displayName": "pathserve",
            "deployedModels": [{"id": settings.http.deployed_model_id}],
        }
        return Response(orjson.dumps(body), content_type=_JSON)

    def docs() -> Response:
        response = Response(page, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        )
        return response

    document, page = orjson.dumps(openapi_document(settings)), docs_page(settings)
    app.add_url_rule(settings.http.predict_route, "predict", endpoint, methods=["POST"])
    for verb in ("predict", "rawPredict"):
        app.add_url_rule(f"{VERTEX_ROUTE}:{verb}", f"vertex_{verb}", endpoint, methods=["POST"])
    app.add_url_rule(VERTEX_ROUTE, "vertex_endpoint", vertex_endpoint)
    app.add_url_rule(settings.http.health_route, "health", health)
    app.add_url_rule("/metrics", "metrics", metrics)
    app.add_url_rule("/openapi.json", "openapi", lambda: Response(document, content_type=_JSON))
    app.add_url_rule("/docs", "docs", docs)
    app.after_request(secured)
    app.register_error_handler(ServiceError, answer_error)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_unexpected)
    return HttpApplication(app, Gate(app, _PREDICTIONS, keys, settings.requests.max_bytes), refusal)


class _PredictEndpoint:
    """``POST /predict``: by the thread that calls it, a request is worked on from its parsing to its answer.

    The front has let it in, has all of its body, and has given it its turn.
    """

    def __init__(self, settings: Settings, predictor: Predictor, telemetry: Telemetry) -> None:
        self._settings = settings
        self._predictor = predictor
        self._telemetry = telemetry

    def __call__(self, **_: str) -> Response:
        received: Received = request.environ[RECEIVED]
        record = RequestRecord(request_id(request.headers), received.started)
        g.request_id = record.request_id
        try:
            response = self._answer(received, record)
            outcome = "ok"
        except ServiceError as error:
            response, outcome = answer_error(error), str(error.code)
        except Abandoned:
            response, outcome = Response(status=_CLIENT_GONE), "client gone"
        except Exception as error:
            response, outcome = _answer_unexpected(error), str(Code.INTERNAL_ERROR)
        response.headers["X-Request-Id"] = record.request_id
        self._telemetry.finish(record, response.status_code, outcome)
        return response

    def _answer(self, received: Received, record: RequestRecord) -> Response:
        body: bytes | bytearray = received.take_body()
        record.request_bytes = len(body)
        inner = unwrapped(body) if request.endpoint == _RAW_PREDICT else None
        with record.stages.measure("parse"):
            parsed = parse_request(body if inner is None else inner, self._settings.requests.max_patches)
        wrapped = inner is not None
        del body, inner
        deadline = received.arrived + self._settings.requests.timeout_s
        record.instances, record.patches = len(parsed.items), parsed.patch_count
        predictions = self._predictor.predict(parsed, deadline, record.stages, received.hang_up.during)
        failed = [o for o in predictions.outcomes if isinstance(o, Fault)]
        record.codes.update(str(fault.code) for fault in failed)
        record.patches = sum(len(o) for o in predictions.outcomes if not isinstance(o, Fault))
        with record.stages.measure("serialise"):
            answer = prediction_body(parsed, predictions, self._settings.http.deployed_model_id)
        if wrapped and _asks_for_json():
            answer = wrap(answer)
        response = Response(answer, content_type=_JSON)
        response.headers.update(self._vertex_headers(predictions.facts))
        return response

    def _vertex_headers(self, facts: EncoderFacts) -> dict[str, str]:
        """Return what Vertex AI adds to the answers of rawPredict, and its client library reads."""
        return {
            "X-Vertex-AI-Deployed-Model-Id": self._settings.http.deployed_model_id,
            "X-Vertex-AI-Model": facts.model,
            "X-Vertex-AI-Model-Version-Id": model_version(facts),
        }


def _asks_for_json() -> bool:
    """Say whether Google's REST transport asks, which expects what it sends: an answer in an HttpBody."""
    return request.args.get("$alt", "").startswith("json")


def refusal(error: ServiceError) -> Answer:
    """Answer what never became a request; nothing of it is quoted."""
    log.info("refused", extra={"outcome": str(error.code)})
    response = secured(answer_error(error))
    response.headers["X-Request-Id"] = uuid.uuid4().hex
    return Answer(response.status, list(response.headers), response.get_data())


def answer_error(error: ServiceError) -> Response:
    """Return the answer of a request that failed whole."""
    status = TABLE[error.code].status
    assert status is not None, f"{error.code} cannot fail a whole request"
    response = Response(error_body(error.fault), status=status, content_type=_JSON)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if error.code is Code.CONTENT_ENCODING_ERROR:
        response.headers["Accept-Encoding"] = "gzip"
    return response


def _http_exception_code(error: HTTPException) -> Code:
    codes = {row.status: code for code, row in TABLE.items() if row.status and not row.in_instance}
    return next(
        (code for status, code in codes.items() if status == error.code), Code.INVALID_REQUEST_FIELD_ERROR
    )


def _answer_http_exception(error: HTTPException) -> Response:
    """Answer what Flask and Werkzeug refuse: unknown paths, wrong methods, bodies too large."""
    if error.code is not None and error.code >= 500:
        return _answer_unexpected(error)
    code = _http_exception_code(error)
    response = answer_error(ServiceError(code, TABLE[code].meaning))
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _answer_unexpected(error: Exception) -> Response:
    log.error("unexpected fault", exc_info=error, extra={"request_id": g.get("request_id", "")})
    return answer_error(ServiceError(Code.INTERNAL_ERROR, TABLE[Code.INTERNAL_ERROR].meaning))
