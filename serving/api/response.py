"""The only place where vectors become bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import orjson
import pybase64

from dicom_io.geometry import Patch
from dicom_io.quality.measures import Measure
from model.encoder import EncoderFacts
from serving.api.request import Encoding, PredictRequest
from serving.errors import Fault
from serving.pipeline.outcome import Outcome
from serving.pipeline.types import Instance, Predictions

_MEASURES = [one.value for one in Measure]

_DIGITS = 4
"""Behind the point, of a patch's quality: a patch has about 800 cells."""


def prediction_body(request: PredictRequest, predictions: Predictions, deployed_model_id: str) -> bytes:
    """Return the JSON of a predict answer.

    Numbers of a vector are written with the fewest digits that give the same float32 again; or the vector
    as base64 of little-endian float32, where the request asks for that.

    Parameters
    ----------
    request, predictions:
        Items and outcomes in the same order.
    deployed_model_id:
        As Vertex AI knows it.
    """
    facts = predictions.facts
    answer = {
        "predictions": list(_predictions(request, predictions.outcomes)),
        "deployedModelId": deployed_model_id,
        "model": facts.model,
        "modelVersionId": model_version(facts),
        "modelDisplayName": display_name(facts),
        "metadata": metadata(facts) | {"encoding": request.encoding},
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def error_body(fault: Fault) -> bytes:
    """Return the JSON of an answer that fails the whole request."""
    return orjson.dumps({"error": fault.as_json()})


def display_name(facts: EncoderFacts) -> str:
    """Return the model's name for people."""
    return f"{facts.model} (untrained)" if facts.untrained else facts.model


def model_version(facts: EncoderFacts) -> str:
    """Return the first digits of the weights' digest."""
    return facts.digest.removeprefix("sha256:")[:12]


def metadata(facts: EncoderFacts) -> dict[str, object]:
    """Return the facts about the encoder that clients see."""
    return {
        "untrained": facts.untrained,
        "dimension": facts.dimension,
        "device": facts.device,
        "precision": facts.precision,
        "parity": facts.parity,
        "digest": facts.digest,
        "runtime": facts.runtime,
    }


def _predictions(request: PredictRequest, outcomes: list[Outcome]) -> Iterator[dict[str, object]]:
    for item, outcome in zip(request.items, outcomes, strict=True):
        if isinstance(outcome, Fault):
            yield {"error": outcome.as_json()}
        elif isinstance(item, Instance):
            found = outcome.vectors
            vectors: Iterable[object] = found
            if request.encoding is Encoding.BASE64_FLOAT32:
                vectors = (pybase64.b64encode_as_string(row) for row in found.astype("<f4", order="C"))
            rows: list[dict[str, object]] = [
                {"patch_coordinate": _coordinate(patch), "embedding_vector": vector}
                for patch, vector in zip(item.patches, vectors, strict=True)
            ]
            for index, fault in outcome.faults.items():
                rows[index] = {"patch_coordinate": rows[index]["patch_coordinate"], "error": fault.as_json()}
            if outcome.quality is not None:
                for row, measures in zip(rows, outcome.quality.tolist(), strict=True):
                    row.update(_quality(measures))
            yield {"result": {"patch_embeddings": rows}}


def _quality(measures: list[float]) -> dict[str, object]:
    if math.isnan(measures[0]):
        return {}  # of a patch that could not be read
    rounded = (round(value, _DIGITS) for value in measures)
    return {"quality": dict(zip(_MEASURES, rounded, strict=True))}


def _coordinate(patch: Patch) -> dict[str, int]:
    return {
        "x_origin": patch.x,
        "y_origin": patch.y,
        "width": patch.width,
        "height": patch.height,
    }
