"""Tables of vectors between the page and Parquet, as ``pathserve embed`` writes it (``pathserve[embed]``)."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pybase64

from model.encoder import PATCH_SIDE
from serving.api.fields import JsonObject, bad, is_object
from serving.errors import Code, ServiceError
from serving.output.table import (
    ABOUT,
    VERSION,
    Identity,
    PatchFrame,
    Rows,
    columns_of,
    joined,
    table_of,
    vectors_of,
)
from serving.view.plan import MOST_PATCHES

MOST_NUMBERS = 1 << 28
"""Numbers of all vectors of a table: 1 GiB of float32."""

_COLUMNS = ["x", "y", "vector", "error"]
_ROWS_AT_ONCE = 8192
_MOST_OF_ERROR = 1000
_MOST_SIDE = 1 << 31


@dataclass(frozen=True, slots=True)
class VectorTable:
    """The rows of a table.

    Attributes
    ----------
    about:
        What the file says of its run.
    places:
        int64 ``[rows, 2]``: x and y at the scale of the patches.
    vectors:
        float16 ``[rows, dimension]``, NaN where a patch failed.
    errors:
        ``CODE: description``, or ``None``.
    """

    about: Mapping[str, Any]
    places: npt.NDArray[np.int64] = field(repr=False)
    vectors: npt.NDArray[np.float16] = field(repr=False)
    errors: Sequence[str | None] = field(repr=False)

    def as_json(self) -> dict[str, object]:
        """Return what the page is sent."""
        return {
            "about": self.about,
            "dimension": self.vectors.shape[1],
            "x": self.places[:, 0].tolist(),
            "y": self.places[:, 1].tolist(),
            "vectors": pybase64.b64encode_as_string(self.vectors.astype("<f2").tobytes()),
            "errors": {str(row): error for row, error in enumerate(self.errors) if error is not None},
        }


def read_table(data: bytes | bytearray) -> VectorTable:
    """Read a finished Parquet of ``pathserve embed``, or of the page.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR of any other file, TOO_MANY_PATCHES_ERROR of one that is too large.
    """
    try:
        return _read(pq.ParquetFile(pa.BufferReader(data), read_dictionary=["error"]))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise bad(
            "The file is not a Parquet of `pathserve embed`; choose one that it has finished."
        ) from error


def _read(file: pq.ParquetFile) -> VectorTable:
    about = json.loads(file.schema_arrow.metadata[ABOUT.encode()])
    dimension = int(file.schema_arrow.field("vector").type.list_size)
    rows = file.metadata.num_rows
    if rows > MOST_PATCHES or rows * dimension > MOST_NUMBERS:
        raise ServiceError(
            Code.TOO_MANY_PATCHES_ERROR, f"The table has {rows:,} patches, more than a browser holds."
        )
    _require_described(about)
    places = np.empty((rows, 2), np.int64)
    vectors, errors = np.empty((rows, dimension), np.float16), list[str | None]()
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=_COLUMNS):
        table, here = pa.Table.from_batches([batch]), slice(len(errors), len(errors) + batch.num_rows)
        places[here] = columns_of(table, "x", "y")  # of another shape where there are more than is said
        with np.errstate(over="ignore"):
            vectors[here] = vectors_of(table)
        errors += _short(batch.column("error"))
    if not rows or len(errors) != rows:
        raise ValueError
    return VectorTable(about, places, vectors, errors)


def _short(errors: pa.Array) -> list[str | None]:
    """Return errors, each cut to what a person reads: one text of megabytes may be that of all rows."""
    if isinstance(errors, pa.DictionaryArray):
        texts = _short(errors.dictionary)
        return [None if index is None else texts[index] for index in errors.indices.to_pylist()]
    cut: list[str | None] = pc.utf8_slice_codeunits(errors, 0, _MOST_OF_ERROR).to_pylist()
    return cut


def _require_described(about: object) -> None:
    """Raise where a file does not say what the page relies on, or says of a grid that no browser holds."""
    if not isinstance(about, dict) or not isinstance(about["slide"]["instance"], str):
        raise ValueError
    if not isinstance(about["model"], str) or not isinstance(about["encoder"], str):
        raise ValueError
    frame = PatchFrame(**about["frame"])
    sizes = frame.level, frame.width, frame.height, frame.level0_width, frame.level0_height
    if not all(type(size) is int and 0 <= size <= _MOST_SIDE for size in sizes) or not all(sizes[1:]):
        raise ValueError
    if not all(mpp is None or 0 < float(mpp) < _MOST_SIDE for mpp in (frame.mpp, frame.level0_mpp)):
        raise ValueError
    patches = (frame.width // PATCH_SIDE) * (frame.height // PATCH_SIDE)
    if patches > MOST_PATCHES:
        raise ServiceError(
            Code.TOO_MANY_PATCHES_ERROR, f"The slide has {patches:,} patches, more than a browser holds."
        )


def write_table(asked: object) -> bytes:
    """Return the page's vectors as Parquet.

    Parameters
    ----------
    asked:
        JSON: ``frame`` and ``slide`` (see docs/outputs.md), ``model``, ``encoder``, ``untrained``,
        ``dimension``, ``x``, ``y``, ``vectors`` (base64 of float16, row by row), ``errors`` by row.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR
    """
    if not is_object(asked):
        raise bad("The body must be a JSON object.")
    try:
        return _written(asked)
    except (pa.ArrowException, KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise bad("The vectors are not as the page sends them.") from error


def _written(asked: JsonObject) -> bytes:
    frame = PatchFrame(**_object(asked["frame"]))
    slide = _object(asked["slide"])
    dimension = int(str(asked["dimension"]))
    if dimension < 1:
        raise ValueError
    x, y = np.asarray(asked["x"], np.int64), np.asarray(asked["y"], np.int64)
    raw = pybase64.b64decode(str(asked["vectors"]), validate=True)
    vectors = np.frombuffer(raw, "<f2").reshape(len(x), dimension).astype(np.float32)
    errors = {int(row): str(text) for row, text in _object(asked["errors"]).items()}
    identity = Identity(slide.get("study"), slide.get("series"), str(slide["instance"]))
    rows = Rows(
        list(zip(x.tolist(), y.tolist(), strict=True)),
        [None if row in errors else vector for row, vector in enumerate(vectors)],
        [errors.get(row) for row in range(len(x))],
    )
    about = {
        "version": VERSION,
        "run": {"slide": slide["instance"], "page": True},
        "slide": slide,
        "frame": _object(asked["frame"]),
        "patches": len(x),
        "model": asked["model"],
        "encoder": asked["encoder"],
        "untrained": asked["untrained"],
    }
    table = joined([table_of(rows, identity, frame)], dimension)
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({ABOUT: json.dumps(about)}), out)
    return out.getvalue()


def _object(value: object) -> dict[str, Any]:
    if not is_object(value):
        raise TypeError
    return dict(value)
