"""The grid of patches as GeoJSON that QuPath opens: a tile each, in pixels of level 0."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import pyarrow as pa

from dicom_io.quality.measures import Measure
from model.encoder import PATCH_SIDE
from serving.output.files import whole_path
from serving.output.table import ABOUT, QUALITY, About, PatchFrame, columns_of, quality_of


class _Grid:
    def __init__(self, file: TextIO, frame: PatchFrame) -> None:
        self._file = file
        self._frame = frame
        self._between = "\n"

    def append(self, table: pa.Table) -> None:
        """Write a feature for each row."""
        places = columns_of(table, "x", "y")
        ends = places + PATCH_SIDE
        frame = self._frame
        left, top = frame.x0(places[:, 0]).tolist(), frame.y0(places[:, 1]).tolist()
        right, bottom = frame.x0(ends[:, 0]).tolist(), frame.y0(ends[:, 1]).tolist()
        errors = table.column("error").to_pylist()
        measured = _measurements(table) if QUALITY[0] in table.column_names else [{}] * table.num_rows
        for x0, y0, x1, y1, error, more in zip(left, top, right, bottom, errors, measured, strict=True):
            self._file.write(self._between + json.dumps(_tile(x0, y0, x1, y1, error, more)))
            self._between = ",\n"


def _measurements(table: pa.Table) -> list[dict[str, object]]:
    """Return what QuPath shows as measurements of each tile; nothing of one that could not be read."""
    names = [f"Quality: {one}" for one in Measure]
    return [
        {} if math.isnan(row[0]) else {"measurements": dict(zip(names, row, strict=True))}
        for row in quality_of(table).astype(np.float64).round(4).tolist()
    ]


def _tile(
    x0: int, y0: int, x1: int, y1: int, error: str | None, more: dict[str, object]
) -> dict[str, object]:
    properties: dict[str, object] = {"objectType": "tile"} | more
    if error is not None:
        properties |= {
            "classification": {"name": "Failed", "color": [200, 0, 0]},
            "metadata": {"error": error},
        }
    corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": properties,
    }


@contextlib.contextmanager
def writing(path: Path, about: About, frame: PatchFrame, dimension: int) -> Iterator[_Grid]:
    """Yield what writes a GeoJSON file; see ``serving.output.formats``."""
    with whole_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection",\n"{ABOUT}": {json.dumps(about)},\n"features": [')
        yield _Grid(file, frame)
        file.write("\n]}\n")


def about(path: Path) -> object:
    """Return what a GeoJSON file says about its run: its second line."""
    try:
        with path.open(encoding="utf-8") as file:
            file.readline()
            return json.loads("{" + file.readline().strip().rstrip(",") + "}")[ABOUT]
    except (ValueError, KeyError):
        return None
