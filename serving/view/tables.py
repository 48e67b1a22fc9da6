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
import pyarrow.parquet as pq
import pybase64

from serving.api.fields import JsonObject, bad, is_object
from serving.errors import Code, ServiceError
from serving.output.table import ABOUT, VERSION, Identity, PatchFrame, Rows, joined, table_of, vectors_of
from serving.view.plan import MOST_PATCHES

MOST_NUMBERS = 1 << 28
"""Numbers of all vectors of a table: 1 GiB of float32."""

_COLUMNS = ["x", "y", "vector", "error"]
_ROWS_AT_ONCE = 8192


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
        return _read(pq.ParquetFile(pa.BufferReader(data)))
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
    batches: list[pa.Table] = []
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=_COLUMNS):
        batches.append(pa.Table.from_batches([batch]))
        if len(batches) * _ROWS_AT_ONCE > rows + _ROWS_AT_ONCE:
            raise ValueError  # more than its own metadata say
    table = pa.concat_tables(batches)
    if not isinstance(about, dict) or not rows:
        raise ValueError
    PatchFrame(**about["frame"])
    places = np.stack([table.column(name).to_numpy() for name in ("x", "y")], axis=-1)
    with np.errstate(over="ignore"):
        vectors = vectors_of(table).astype(np.float16)
    return VectorTable(about, places.astype(np.int64), vectors, table.column("error").to_pylist())


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
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise bad("The vectors are not as the page sends them.") from error


def _written(asked: JsonObject) -> bytes:
    frame = PatchFrame(**_object(asked["frame"]))
    slide = _object(asked["slide"])
    dimension = int(str(asked["dimension"]))
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
