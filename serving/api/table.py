"""A predict answer as a table: a row for each patch, and one for each instance that failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

from dicom_io.geometry import Patch
from dicom_io.quality.measures import Measure
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
    quality: npt.NDArray[np.float32] | None = None


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
    if any(row.quality is not None for row in rows):
        columns += _quality(rows)
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
                quality = None if outcome.quality is None else outcome.quality[patch]
                yield _Row(number, patch, at, vector if fault is None else None, fault, quality)


def _quality(rows: list[_Row]) -> list[Column]:
    """Return a column for each measure, null for patches that could not be read or were not measured."""
    none = np.full(len(Measure), np.nan, np.float32)
    found = np.stack([none if row.quality is None else row.quality for row in rows])
    known = ~np.isnan(found[:, 0])
    found[~known] = 0
    return [
        Column(f"quality_{one}", np.ascontiguousarray(column), known)
        for one, column in zip(Measure, found.T, strict=True)
    ]


def _whole_numbers(name: str, values: list[int | None], kind: str) -> Column:
    known = np.array([value is not None for value in values], bool)
    return Column(name, np.array([value or 0 for value in values], kind), known)


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
