"""The door of preflight: ``POST /check`` answers what a prediction of the same request would come to."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, g, request

from dicom_io.waiting import Cancellation
from serving.api.check_response import check_body
from serving.api.openapi import CHECK_ROUTE
from serving.api.request import parse_request
from serving.api.sources.kind import SourceKind
from serving.api.sources.registry import KINDS
from serving.config.settings import Settings
from serving.errors import Fault
from serving.front.wsgi_bridge import RECEIVED, Received
from serving.http.answers import JSON
from serving.http.door import Door
from serving.pipeline.predictor import Predictor
from serving.telemetry.request_record import RequestRecord, RequestStage, request_id

log = logging.getLogger(__name__)


def check_door(settings: Settings, predictor: Predictor, kinds: tuple[SourceKind, ...] = KINDS) -> Door:
    """Return the door. The gate asks for a key and gives out turns as for predictions.

    Parameters
    ----------
    kinds:
        The kinds of sources that instances may name.
    """
    routes = Blueprint("check", __name__)
    limits = settings.requests

    def check() -> Response:
        received: Received = request.environ[RECEIVED]
        record = RequestRecord(request_id(request.headers), received.started)
        g.checked, g.request_id = record, record.request_id
        body = received.take_body()
        record.request_bytes = len(body)
        with record.stages.measure(RequestStage.PARSE):
            asked = parse_request(body, limits.max_patches, kinds)
        del body  # it is as large as the images in it
        record.instances, record.patches = len(asked.items), asked.patch_count
        waits = Cancellation(received.arrived + limits.timeout_s)
        with received.hang_up.during(waits.cancel):
            preflight = predictor.check(asked.items, waits, record.stages)
        verdicts = [checked.verdict for checked in preflight.checked]
        record.codes.update(str(verdict.code) for verdict in verdicts if isinstance(verdict, Fault))
        with record.stages.measure(RequestStage.SERIALISE):
            return Response(check_body(preflight), content_type=JSON)

    routes.add_url_rule(CHECK_ROUTE, "check", check, methods=["POST"])
    routes.after_request(_finish)
    return Door(routes, frozenset({"check"}))


def _finish(response: Response) -> Response:
    """Log a request, whether it succeeded or failed."""
    record: RequestRecord | None = g.get("checked")
    if record is not None:
        response.headers["X-Request-Id"] = record.request_id
        log.info("check", extra=record.fields(response.status_code, g.get("outcome", "ok")))
    return response
