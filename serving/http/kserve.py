"""The door of KServe: its V1 inference protocol, by which InferenceServices are asked and probed.

Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol. Where KServe's own
server says more than the protocol, it is followed: a model that is not ready is a 503, and ``GET /`` says
that the server is alive.
"""

from __future__ import annotations

import orjson
from flask import Blueprint, Response, request

from serving.config.settings import Settings
from serving.errors import Code, ServiceError
from serving.http.access import ApiKeys
from serving.http.answers import JSON
from serving.http.door import Door
from serving.http.predict import Predictions, begin
from serving.pipeline.predictor import Predictor

MODELS_ROUTE = "/v1/models"


def kserve_door(settings: Settings, predictor: Predictor, keys: ApiKeys, predictions: Predictions) -> Door:
    """Return the door. Its one model has the name in PATHSERVE_MODEL_NAME, else its own."""
    routes = Blueprint("kserve", __name__)
    model = _NamedModel(settings.http.model_name, predictor)

    def alive() -> Response:
        return _json({"status": "alive"})

    def models() -> Response:
        return _json({"models": [model.name]})

    def ready(name: str) -> Response:
        model.require(name)
        facts = predictor.require_ready()
        return _json({"name": name, "ready": True, "model": facts.model, "untrained": facts.untrained})

    def predict(name: str) -> Response:
        received, record = begin()
        keys.require(request.headers.get("Authorization"))  # who may not ask learns no names
        model.require(name)
        return predictions.answer(received, record)

    routes.add_url_rule("/", "alive", alive)
    routes.add_url_rule(MODELS_ROUTE, "models", models)
    routes.add_url_rule(f"{MODELS_ROUTE}/<name>", "ready", ready)
    routes.add_url_rule(f"{MODELS_ROUTE}/<name>:predict", "predict", predict, methods=["POST"])
    routes.after_request(predictions.finish)
    return Door(routes, frozenset({"predict"}))


class _NamedModel:
    """The service's model, as paths name it."""

    def __init__(self, given: str | None, predictor: Predictor) -> None:
        self._given = given
        self._predictor = predictor

    @property
    def name(self) -> str:
        """The given name, else the one that answers have.

        Raises
        ------
        ServiceError
            SERVICE_UNAVAILABLE_ERROR while neither is known.
        """
        if self._given is not None:
            return self._given
        return (self._predictor.facts or self._predictor.require_ready()).model

    def require(self, name: str) -> None:
        """Require that a path names the model.

        Raises
        ------
        ServiceError
            NOT_FOUND_ERROR for another name.
        """
        if name != (known := self.name):
            raise ServiceError(
                Code.NOT_FOUND_ERROR,
                f"This service has one model, {known}; its operator may name it by PATHSERVE_MODEL_NAME.",
            )


def _json(value: dict[str, object]) -> Response:
    return Response(orjson.dumps(value), content_type=JSON)
