"""The door of Amazon SageMaker: what it asks of a container that serves a model.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html. It starts the
image with the argument ``serve``, probes ``GET /ping``, which has two seconds, and passes on to
``POST /invocations`` what clients send to InvokeEndpoint. Of their headers it passes on few: custom
attributes are among them, in both directions, and carry the request's id.
"""

from __future__ import annotations

from flask import Blueprint, Response, g, request

from serving.http.door import Door
from serving.http.predict import Predictions, begin
from serving.pipeline.predictor import Predictor
from serving.telemetry.request_record import RequestRecord

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def sagemaker_door(predictor: Predictor, predictions: Predictions) -> Door:
    """Return the door."""
    routes = Blueprint("sagemaker", __name__)

    def ping() -> Response:
        predictor.require_ready()
        return Response(content_type="text/plain")

    def invocations() -> Response:
        named = CUSTOM_ATTRIBUTES in request.headers
        return predictions.answer(*(begin(CUSTOM_ATTRIBUTES) if named else begin()))

    def attributed(response: Response) -> Response:
        record: RequestRecord | None = g.get("record")
        if record is not None:
            response.headers[CUSTOM_ATTRIBUTES] = record.request_id
        return response

    routes.add_url_rule("/ping", "ping", ping)
    routes.add_url_rule("/invocations", "invocations", invocations, methods=["POST"])
    routes.after_request(predictions.finish)
    routes.after_request(attributed)
    return Door(routes, frozenset({"invocations"}))
