"""The only place, beside ``table``, where vectors become bytes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import orjson
import pybase64

from dicom_io.geometry import Patch
from dicom_io.quality.measures import Measure
from model.encoder import EncoderFacts, Vectors
from serving.api.encodings import LARGEST_FLOAT16, Encoding, beyond, coded
from serving.api.request import PredictRequest
from serving.errors import Code, Fault
from serving.pipeline.outcome import Outcome
from serving.pipeline.types import Instance, Item, Predictions

_MEASURES = [one.value for one in Measure]

_DIGITS = 4
"""Behind the point, of a patch's quality: a patch has about 800 cells."""


def prediction_body(request: PredictRequest, predictions: Predictions, deployed_model_id: str) -> bytes:
    """Return the JSON of a predict answer.

    Numbers of a vector are written with the fewest digits that give the same float32 again; or the vector
    as base64 of what the request's encoding makes of it, with its scale where there is one.

    Parameters
    ----------
    request, predictions:
        Items and outcomes in the same order.
    deployed_model_id:
        As Vertex AI knows it.
    """
    answer = {
        "predictions": list(_predictions(request, predictions.outcomes)),
        **named(predictions.facts, deployed_model_id),
        "metadata": metadata(predictions.facts)
        | {"encoding": request.encoding}
        | warnings_of(predictions.outcomes),
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def holdable(request: PredictRequest, predictions: Predictions) -> Predictions:
    """Return predictions of which the request's encoding can hold all; what it cannot hold has a fault."""
    pairs = zip(request.items, predictions.outcomes, strict=True)
    outcomes = [_holdable(item, outcome, request.encoding) for item, outcome in pairs]
    return replace(predictions, outcomes=outcomes)


def error_body(fault: Fault) -> bytes:
    """Return the JSON of an answer that fails the whole request."""
    return orjson.dumps({"error": fault.as_json()})


def named(facts: EncoderFacts, deployed_model_id: str) -> dict[str, str]:
    """Return the names of the model that answered."""
    return {
        "deployedModelId": deployed_model_id,
        "model": facts.model,
        "modelVersionId": model_version(facts),
        "modelDisplayName": display_name(facts),
    }


def display_name(facts: EncoderFacts) -> str:
    """Return the model's name for people."""
    return f"{facts.model} (untrained)" if facts.untrained else facts.model


def model_version(facts: EncoderFacts) -> str:
    """Return the first digits of the weights' digest."""
    return facts.digest.removeprefix("sha256:")[:12]


def metadata(facts: EncoderFacts) -> dict[str, object]:
    """Return the facts about the encoder that clients see."""
    always = {
        "untrained": facts.untrained,
        "dimension": facts.dimension,
        "device": facts.device,
        "precision": facts.precision,
        "parity": facts.parity,
        "digest": facts.digest,
        "runtime": facts.runtime,
    }
    return always | {"reproducible": True} if facts.reproducible else always


def warnings_of(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return what the magnification guard says of instances with vectors; nothing where that is nothing."""
    found = [
        {"instance": position, "kind": "magnification", **dataclasses.asdict(outcome.magnification)}
        for position, outcome in enumerate(outcomes)
        if not isinstance(outcome, Fault) and outcome.magnification is not None
    ]
    return {"warnings": found} if found else {}


def _predictions(request: PredictRequest, outcomes: list[Outcome]) -> Iterator[dict[str, object]]:
    for item, outcome in zip(request.items, outcomes, strict=True):
        if isinstance(outcome, Fault):
            yield {"error": outcome.as_json()}
        elif isinstance(item, Instance):
            written = _written(outcome.vectors, request.encoding)
            rows: list[dict[str, object]] = [
                {"patch_coordinate": _coordinate(patch), **vector}
                for patch, vector in zip(item.patches, written, strict=True)
            ]
            for index, fault in outcome.faults.items():
                rows[index] = {"patch_coordinate": rows[index]["patch_coordinate"], "error": fault.as_json()}
            if outcome.quality is not None:
                for row, measures in zip(rows, outcome.quality.tolist(), strict=True):
                    row.update(_quality(measures))
            result: dict[str, object] = {"patch_embeddings": rows}
            if outcome.provenance is not None:
                result["provenance"] = outcome.provenance
            yield {"result": result}


def _quality(measures: list[float]) -> dict[str, object]:
    if math.isnan(measures[0]):
        return {}  # of a patch that could not be read
    rounded = (round(value, _DIGITS) for value in measures)
    return {"quality": dict(zip(_MEASURES, rounded, strict=True))}


def _written(vectors: Vectors, encoding: Encoding) -> Iterator[Mapping[str, object]]:
    written = coded(vectors, encoding)
    if encoding is Encoding.JSON:
        yield from ({"embedding_vector": row} for row in written.numbers)
        return
    texts = (pybase64.b64encode_as_string(row) for row in written.numbers)
    if written.scales is None:
        yield from ({"embedding_vector": text} for text in texts)
    else:
        for text, scale in zip(texts, written.scales, strict=True):
            yield {"embedding_vector": text, "embedding_scale": scale}


def _holdable(item: Item, outcome: Outcome, encoding: Encoding) -> Outcome:
    if isinstance(outcome, Fault) or isinstance(item, Fault):
        return outcome
    rows = beyond(outcome.vectors, encoding)
    if not rows:
        return outcome
    fault = Fault(
        Code.INVALID_REQUEST_FIELD_ERROR,
        f"A vector has a number beyond {LARGEST_FLOAT16:g}, where {encoding} ends. Set parameters.encoding "
        f"to {Encoding.BASE64_FLOAT32} or {Encoding.BASE64_INT8}.",
    )
    if not item.extras.per_patch_errors:
        return fault
    vectors = outcome.vectors.copy()
    vectors[rows] = np.nan
    return replace(outcome, vectors=vectors, faults={**outcome.faults, **dict.fromkeys(rows, fault)})


def _coordinate(patch: Patch) -> dict[str, int]:
    return {
        "x_origin": patch.x,
        "y_origin": patch.y,
        "width": patch.width,
        "height": patch.height,
    }
