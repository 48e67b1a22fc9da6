"""A predict answer as a table: a row for each patch, and one for each instance that failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import orjson

from dicom_io.geometry import Patch
from model.encoder import PATCH_SIDE, Vectors
from serving.api.arrow_ipc import Column, arrow_stream
from serving.api.encodings import coded
from serving.api.request import PredictRequest
from serving.api.response import metadata, named, warnings_of
from serving.errors import Fault
from serving.pipeline.types import Instance, Predictions

MEDIA_TYPE = "application/vnd.apache.arrow.stream"


@dataclass(frozen=True, slots=True)
class _Row:
    """A row: a patch and its vector, or a fault.

    Attributes
    ----------
    instance, patch:
        Their indices; no patch where the whole instance failed.
    """

    instance: int
    patch: int | None = None
    at: Patch | None = None
    vector: Vectors | None = None
    fault: Fault | None = None


def prediction_table(request: PredictRequest, predictions: Predictions, deployed_model_id: str) -> bytes:
    """Return a predict answer as an Arrow IPC stream.

    What the JSON has beside its predictions is in the schema's metadata, as text. Parameters are those of
    ``prediction_body``.
    """
    rows = list(_rows(request, predictions))
    has_vector = np.array([row.vector is not None for row in rows], bool)
    none = np.zeros(predictions.facts.dimension, np.float32)
    vectors = np.stack([none if row.vector is None else row.vector for row in rows])
    written = coded(vectors, request.encoding)
    columns = [
        Column("instance", np.array([row.instance for row in rows], np.int32)),
        _whole_numbers("patch", [row.patch for row in rows], "int32"),
        _whole_numbers("x_origin", [None if row.at is None else row.at.x for row in rows], "int64"),
        _whole_numbers("y_origin", [None if row.at is None else row.at.y for row in rows], "int64"),
        Column("embedding_vector", written.numbers, has_vector),
    ]
    if written.scales is not None:
        columns.append(Column("embedding_scale", written.scales, has_vector))
    columns += [
        Column("error_code", [None if row.fault is None else row.fault.code for row in rows]),
        Column("error_description", [None if row.fault is None else row.fault.description for row in rows]),
    ]
    facts = predictions.facts
    about = named(facts, deployed_model_id) | metadata(facts)
    about |= {"encoding": request.encoding, "patch_size": PATCH_SIDE} | warnings_of(predictions.outcomes)
    if told := _provenance(predictions):
        about["provenance"] = told
    return arrow_stream(columns, {name: _text(value) for name, value in about.items()})


def _provenance(predictions: Predictions) -> dict[str, object]:
    """Return what vectors are made of, where that was asked for, by the index of the instance as text."""
    return {
        str(number): outcome.provenance
        for number, outcome in enumerate(predictions.outcomes)
        if not isinstance(outcome, Fault) and outcome.provenance is not None
    }


def _rows(request: PredictRequest, predictions: Predictions) -> Iterator[_Row]:
    for number, (item, outcome) in enumerate(zip(request.items, predictions.outcomes, strict=True)):
        if isinstance(outcome, Fault):
            yield _Row(number, fault=outcome)
        elif isinstance(item, Instance):
            for patch, (at, vector) in enumerate(zip(item.patches, outcome.vectors, strict=True)):
                fault = outcome.faults.get(patch)
                yield _Row(number, patch, at, vector if fault is None else None, fault)


def _whole_numbers(name: str, values: list[int | None], kind: str) -> Column:
    known = np.array([value is not None for value in values], bool)
    return Column(name, np.array([value or 0 for value in values], kind), known)


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
