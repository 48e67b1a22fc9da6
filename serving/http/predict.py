"""The door of predictions: ``POST /predict``, and the routes where Google's client library looks for it."""

from __future__ import annotations

from dataclasses import replace

import orjson
from flask import Blueprint, Response, g, request

from dicom_io.waiting import Cancellation
from model.encoder import EncoderFacts
from serving.api.request import PredictRequest, parse_request
from serving.api.response import holdable, model_version
from serving.api.sources.kind import SourceKind
from serving.api.sources.registry import KINDS
from serving.config.settings import Settings
from serving.errors import Fault
from serving.front.wsgi_bridge import RECEIVED, Received
from serving.http.access import ApiKeys
from serving.http.answers import JSON
from serving.http.door import Door
from serving.http.form import Form, formed, wanted_form
from serving.http.http_body import unwrapped
from serving.pipeline.predictor import Predictor
from serving.telemetry.request_record import RequestRecord, RequestStage, Telemetry, request_id

VERTEX_ROUTE = "/v1/projects/<project>/locations/<location>/endpoints/<endpoint>"
"""Where Google's client library finds an endpoint when it is pointed at this service."""


def predict_door(settings: Settings, views: Predictions) -> Door:
    """Return the door."""
    routes = Blueprint("predict", __name__)
    routes.add_url_rule(settings.http.predict_route, "predict", views.predict, methods=["POST"])
    routes.add_url_rule(f"{VERTEX_ROUTE}:predict", "predict", views.predict, methods=["POST"])
    routes.add_url_rule(f"{VERTEX_ROUTE}:rawPredict", "raw_predict", views.raw_predict, methods=["POST"])
    routes.add_url_rule(VERTEX_ROUTE, "endpoint", views.endpoint)
    routes.after_request(views.finish)
    return Door(routes, frozenset({"predict", "raw_predict"}))


class Predictions:
    """Answers predictions, whichever door they come by.

    The thread that calls works on a request from its parsing to its answer. The front has admitted the
    request, has all of its body, and has given it its turn.

    Parameters
    ----------
    kinds:
        The kinds of sources that instances may name.
    """

    def __init__(
        self,
        settings: Settings,
        predictor: Predictor,
        telemetry: Telemetry,
        keys: ApiKeys,
        kinds: tuple[SourceKind, ...] = KINDS,
    ) -> None:
        self._kinds = kinds
        self._limits = settings.requests
        self._http = settings.http
        self._predictor = predictor
        self._telemetry = telemetry
        self._keys = keys

    def predict(self, **_: str) -> Response:
        """Answer a prediction."""
        return self.answer(*begin())

    def answer(self, received: Received, record: RequestRecord) -> Response:
        """Answer a prediction that has begun."""
        form = self._form(received)
        asked = self._parse(_body(received, record), record)
        return self._answer(asked, form, received, record)

    def raw_predict(self, **_: str) -> Response:
        """Answer a prediction that Google's REST transport may have wrapped in an HttpBody."""
        received, record = begin()
        form = self._form(received)
        asked, is_wrapped = self._parse_wrapped(_body(received, record), record)
        form = replace(form, is_wrapped=is_wrapped and _asks_for_json())
        return self._answer(asked, form, received, record)

    def endpoint(self, project: str, location: str, endpoint: str) -> Response:
        """Describe the endpoint as Vertex AI does."""
        self._keys.require(request.headers.get("Authorization"))
        body = {
            "name": f"projects/{project}/locations/{location}/endpoints/{endpoint}",
            "displayName": "pathserve",
            "deployedModels": [{"id": self._http.deployed_model_id}],
        }
        return Response(orjson.dumps(body), content_type=JSON)

    def finish(self, response: Response) -> Response:
        """Count and log a prediction, whether it succeeded or failed."""
        record: RequestRecord | None = g.get("record")
        if record is not None:
            response.headers["X-Request-Id"] = record.request_id
            self._telemetry.finish(record, response.status_code, g.get("outcome", "ok"))
        return response

    def _parse(self, body: bytes | bytearray, record: RequestRecord) -> PredictRequest:
        """Parse a body. It is as large as the images in it, so nothing keeps it beyond this call."""
        with record.stages.measure(RequestStage.PARSE):
            asked = parse_request(body, self._limits.max_patches, self._kinds)
        record.instances, record.patches = len(asked.items), asked.patch_count
        return asked

    def _parse_wrapped(self, body: bytearray, record: RequestRecord) -> tuple[PredictRequest, bool]:
        """Parse a body that may be wrapped; return whether it was."""
        inner = unwrapped(body)
        return self._parse(body if inner is None else inner, record), inner is not None

    def _form(self, received: Received) -> Form:
        """Return how the client wants its answer, before any work is done for it."""
        received.require_wanted()
        return wanted_form(request, self._http, is_local=received.is_local)

    def _answer(
        self, asked: PredictRequest, form: Form, received: Received, record: RequestRecord
    ) -> Response:
        deadline = received.arrived + self._limits.timeout_s
        waits = Cancellation(deadline)
        with received.hang_up.during(waits.cancel):
            predictions = self._predictor.predict(asked.items, waits, record.stages)
        predictions = holdable(asked, predictions)
        failed = [o for o in predictions.outcomes if isinstance(o, Fault)]
        record.codes.update(str(fault.code) for fault in failed)
        embedded = [o for o in predictions.outcomes if not isinstance(o, Fault)]
        record.magnification.update(o.magnification.verdict for o in embedded if o.magnification is not None)
        record.patch_codes.update(str(fault.code) for o in embedded for fault in o.faults.values())
        record.patches = sum(len(o.vectors) - len(o.faults) for o in embedded)
        with record.stages.measure(RequestStage.SERIALISE):
            response = formed(asked, predictions, form, self._http.deployed_model_id)
        response.headers.extend(self._vertex_headers(predictions.facts))
        return response

    def _vertex_headers(self, facts: EncoderFacts) -> dict[str, str]:
        """Return the headers that Vertex AI adds to rawPredict's answers; its client library reads them."""
        return {
            "X-Vertex-AI-Deployed-Model-Id": self._http.deployed_model_id,
            "X-Vertex-AI-Model": facts.model,
            "X-Vertex-AI-Model-Version-Id": model_version(facts),
        }


def begin(id_header: str = "X-Request-Id") -> tuple[Received, RequestRecord]:
    """Start a request's record; ``finish`` and the error handler find it in Flask's ``g``.

    Parameters
    ----------
    id_header:
        The header by which its caller may name the request.
    """
    received: Received = request.environ[RECEIVED]
    record = RequestRecord(
        request_id(request.headers, id_header),
        received.started,
        route=str(request.url_rule),
        traceparent=request.headers.get("traceparent", ""),
    )
    g.record, g.request_id = record, record.request_id
    return received, record


def _body(received: Received, record: RequestRecord) -> bytearray:
    body = received.take_body()
    record.request_bytes = len(body)
    return body


def _asks_for_json() -> bool:
    """Return whether Google's REST transport sent the request: it expects its answer wrapped, too."""
    return request.args.get("$alt", "").startswith("json")
