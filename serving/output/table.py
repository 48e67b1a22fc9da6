"""The rows of an output: patches of one slide, with a vector or an error each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dicom_io.geometry import nearest
from dicom_io.quality.measures import Measure
from model.encoder import PATCH_SIDE, Vectors

VERSION = 2
"""Of the columns and of what is said about a run; 1 had no x0, y0 and mpp, and null for a missing vector."""

ABOUT = "pathserve"
"""Under which name every kind of file has what is said about its run, as JSON."""

PROVENANCE = "provenance"
"""Under which name a part, and what is said about a run, has records of what the vectors are made of."""
QUALITY = tuple(f"quality_{one}" for one in Measure)
"""Columns of measures of the patches, behind all others, where a run was asked for them."""

About = Mapping[str, Any]
"""What is said about a run, as JSON: see docs/outputs.md."""


@dataclass(frozen=True, slots=True)
class PatchFrame:
    """The pixels that patches are given in, and where they are in the slide.

    Attributes
    ----------
    level:
        Index of the level that is read, 0 is the largest.
    width, height:
        Size in pixels of the whole, at the patches' scale.
    level0_width, level0_height:
        Size in pixels of the largest level.
    mpp, level0_mpp:
        Size of a pixel in µm, at the patches' scale and of level 0, the mean of both axes; ``None`` where it
        is not known.
    """

    level: int
    width: int
    height: int
    level0_width: int
    level0_height: int
    mpp: float | None = None
    level0_mpp: float | None = None

    @property
    def patch_side0(self) -> int:
        """Side of a patch in pixels of level 0, along a row."""
        return nearest(PATCH_SIDE * self.level0_width / self.width)

    def x0(self, x: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return columns as columns of level 0, at the nearest pixel, halves up."""
        return _nearest(x * (self.level0_width / self.width))

    def y0(self, y: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return rows as rows of level 0, at the nearest pixel, halves up."""
        return _nearest(y * (self.level0_height / self.height))


def _nearest(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    whole: npt.NDArray[np.int64] = np.floor(values + 0.5).astype(np.int64)
    return whole


@dataclass(frozen=True, slots=True)
class Identity:
    """Which slide the rows are of: UIDs where it has them, and the instance, a file or an object."""

    study: str | None
    series: str | None
    instance: str


@dataclass(frozen=True, slots=True)
class Model:
    """What made the vectors.

    Attributes
    ----------
    digest:
        Of its weights.
    name:
        What it is called.
    untrained:
        Whether its weights are random: then its vectors mean nothing.
    """

    digest: str
    name: str
    untrained: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """Patches that were embedded together, with a vector or an error each.

    Attributes
    ----------
    origins:
        (x, y) of the patches.
    vectors:
        float32 ``[dimension]``, or ``None`` where there is an error.
    errors:
        ``CODE: description``, or ``None``.
    provenance:
        Records of what the vectors are made of.
    quality:
        float32 ``[patches, measures]`` in the order of ``QUALITY``, where that is wanted; NaN for patches
        that could not be read.
    """

    origins: Sequence[tuple[int, int]]
    vectors: Sequence[Vectors | None]
    errors: Sequence[str | None]
    provenance: Sequence[Mapping[str, Any]] = ()
    quality: npt.NDArray[np.float32] | None = None


def table_of(rows: Rows, slide: Identity, frame: PatchFrame) -> pa.Table:
    """Return rows as a table; without a single vector, the type of their column is null."""
    count = len(rows.origins)
    places = np.array(rows.origins, np.int64).reshape(count, 2)
    x, y = places[:, 0], places[:, 1]
    dimension = next((len(vector) for vector in rows.vectors if vector is not None), None)
    texts = {"study": slide.study, "series": slide.series, "instance": slide.instance}
    return pa.table(
        {
            **{name: pa.array([text] * count, pa.string()) for name, text in texts.items()},
            "level": pa.array([frame.level] * count, pa.int32()),
            "x": pa.array(x),
            "y": pa.array(y),
            "x0": pa.array(frame.x0(x)),
            "y0": pa.array(frame.y0(y)),
            "mpp": pa.array([frame.mpp] * count, pa.float64()),
            "vector": pa.nulls(count) if dimension is None else _column(rows.vectors, dimension),
            "error": pa.array(rows.errors, pa.string()),
            **({} if rows.quality is None else _of_quality(rows.quality)),
        },
        metadata={PROVENANCE: json.dumps(rows.provenance)} if rows.provenance else None,
    )


def provenance_of(schema: pa.Schema) -> list[Mapping[str, Any]]:
    """Return what the rows of a part are made of; nothing of parts that tell nothing."""
    told = (schema.metadata or {}).get(PROVENANCE.encode())
    return [] if told is None else list(json.loads(told))


def _of_quality(quality: npt.NDArray[np.float32]) -> dict[str, pa.Array]:
    return {name: pa.array(column, pa.float32()) for name, column in zip(QUALITY, quality.T, strict=True)}


def has_quality(about: About) -> bool:
    """Return whether a run's rows have the columns ``QUALITY``."""
    return bool(about["run"].get("quality"))


def quality_of(table: pa.Table) -> npt.NDArray[np.float32]:
    """Return a table's columns of quality, float32 ``[rows, measures]``."""
    return np.stack([table.column(name).to_numpy() for name in QUALITY], axis=-1).astype(np.float32)


def dimension_of(table: pa.Table) -> int | None:
    """Return how long a table's vectors are; ``None`` where it has none."""
    kind = table.schema.field("vector").type
    return kind.list_size if pa.types.is_fixed_size_list(kind) else None


def joined(tables: Iterable[pa.Table], dimension: int) -> pa.Table:
    """Return tables as one, in the order of their patches: row by row from the upper left."""
    whole = pa.concat_tables([_with_vectors(table, dimension) for table in tables]).combine_chunks()
    order = pc.sort_indices(whole, sort_keys=[("y", "ascending"), ("x", "ascending")])
    return whole.take(order)


def vectors_of(table: pa.Table) -> Vectors:
    """Return a table's vectors as float32 ``[rows, dimension]``, NaN where a patch failed."""
    column = table.column("vector").combine_chunks()
    array = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    flat = array.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(table.num_rows, column.type.list_size)


def columns_of(table: pa.Table, *names: str) -> npt.NDArray[np.int64]:
    """Return columns of whole numbers as int64 ``[rows, names]``."""
    return np.stack([table.column(name).to_numpy() for name in names], axis=-1).astype(np.int64)


def _with_vectors(table: pa.Table, dimension: int) -> pa.Table:
    if dimension_of(table) is not None:
        return table
    index = table.schema.get_field_index("vector")
    return table.set_column(index, "vector", _column([None] * table.num_rows, dimension))


def _column(vectors: Sequence[Vectors | None], dimension: int) -> pa.Array:
    """Return vectors as a column, NaN where there is none.

    Not null: pyarrow before 26 cannot read back a list of a fixed size that is missing.
    """
    missing = np.full(dimension, np.nan, np.float32)
    flat = np.concatenate([missing if vector is None else vector for vector in vectors] or [missing[:0]])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.astype(np.float32, copy=False)), dimension)
