"""Vectors as an AnnData table in a Zarr (version 3) folder, as scanpy, spatialdata and LazySlide read it.

``X`` has the vectors, ``obs`` a row for each patch, ``obsm/spatial`` the middles of the patches in pixels of
level 0. It is the on-disk format of AnnData 0.10 and later (anndata.readthedocs.io, "On-disk format").
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import zarr
from zarr.errors import UnstableSpecificationWarning

from model.encoder import PATCH_SIDE
from serving.output.files import whole_path
from serving.output.table import (
    ABOUT,
    QUALITY,
    About,
    PatchFrame,
    columns_of,
    has_quality,
    quality_of,
    vectors_of,
)

_ROWS_A_CHUNK = 1024

_NUMBERS = ("x", "y", "x0", "y0")
_COLUMNS = (*_NUMBERS, "tile_id", "library_id", "error")

_REGION = "tiles"
"""What spatialdata calls the shapes that rows are of."""


class _AnnData:
    def __init__(self, root: zarr.Group, about: About, frame: PatchFrame, dimension: int) -> None:
        across, down = frame.level0_width / frame.width, frame.level0_height / frame.height
        self._middle = np.array([across, down]) * PATCH_SIDE / 2
        root.attrs.update(_encoding("anndata", "0.1.0") | {ABOUT: dict(about)})
        self._vectors = _array(root, "X", (0, dimension), np.dtype(np.float32))
        measures = QUALITY if has_quality(about) else ()
        obs = _frame_group(root, "obs", (*_COLUMNS, *measures))
        self._measures = [_array(obs, name, (0,), np.dtype(np.float32)) for name in measures]
        self._numbers = [_array(obs, name, (0,), np.dtype(np.int64)) for name in _NUMBERS]
        self._ids = _array(obs, "tile_id", (0,), np.dtype(np.int64))
        self._texts = {name: _array(obs, name, (0,), str) for name in ("_index", "library_id", "error")}
        var = _frame_group(root, "var", ())
        _append(_array(var, "_index", (0,), str), np.array([str(i) for i in range(dimension)], object))
        places = root.create_group("obsm", attributes=_encoding("dict", "0.1.0"))
        self._places = _array(places, "spatial", (0, 2), np.dtype(np.float64))
        self._rows = 0

    def append(self, table: pa.Table) -> None:
        """Write rows at the end."""
        numbers = columns_of(table, *_NUMBERS)
        ids = np.arange(self._rows, self._rows + table.num_rows)
        self._rows += table.num_rows
        _append(self._vectors, vectors_of(table))
        for array, column in zip(self._numbers, numbers.T, strict=True):
            _append(array, column)
        _append(self._ids, ids)
        if self._measures:
            for array, column in zip(self._measures, quality_of(table).T, strict=True):
                _append(array, column)
        texts = {
            "_index": [str(one) for one in ids],
            "library_id": [_REGION] * table.num_rows,
            "error": [error or "" for error in table.column("error").to_pylist()],
        }
        for name, column in texts.items():
            _append(self._texts[name], np.array(column, object))
        _append(self._places, numbers[:, 2:] + self._middle)


@contextlib.contextmanager
def writing(path: Path, about: About, frame: PatchFrame, dimension: int) -> Iterator[_AnnData]:
    """Yield what writes a Zarr folder; see ``serving.output.formats``."""
    with whole_path(path) as temporary, warnings.catch_warnings():
        # AnnData itself writes text so, and reads it.
        warnings.simplefilter("ignore", UnstableSpecificationWarning)
        yield _AnnData(zarr.open_group(temporary, mode="w", zarr_format=3), about, frame, dimension)


def about(path: Path) -> object:
    """Return what a Zarr folder says about its run."""
    try:
        return json.loads((path / "zarr.json").read_bytes())["attributes"][ABOUT]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _encoding(kind: str, version: str) -> dict[str, object]:
    return {"encoding-type": kind, "encoding-version": version}


def _frame_group(root: zarr.Group, name: str, columns: tuple[str, ...]) -> zarr.Group:
    attributes = _encoding("dataframe", "0.2.0") | {"_index": "_index", "column-order": list(columns)}
    return root.create_group(name, attributes=attributes)


def _array(group: zarr.Group, name: str, shape: tuple[int, ...], kind: np.dtype | type[str]) -> zarr.Array:
    of_text = kind is str
    return group.create_array(
        name,
        shape=shape,
        dtype=kind,
        chunks=(_ROWS_A_CHUNK, *shape[1:]),
        attributes=_encoding("string-array" if of_text else "array", "0.2.0"),
    )


def _append(array: zarr.Array, rows: np.ndarray) -> None:
    if len(rows):
        array.append(rows)
