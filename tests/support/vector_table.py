"""Tables as ``pathserve embed`` writes them, without a slide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from serving.webhooks.analyses.patches import Patches


def write_table(
    path: Path,
    patches: Patches,
    vectors: npt.NDArray[np.float32],
    *,
    errors: dict[int, str] | None = None,
    about: dict[str, Any] | None = None,
) -> Path:
    """Write a table whose patches of 224 pixels have the side of ``patches`` in level 0.

    Parameters
    ----------
    errors:
        By row: instead of a vector, which is NaN.
    about:
        What is said otherwise about the run.
    """
    faults = errors or {}
    kept = np.array(vectors, np.float32)
    kept[list(faults)] = np.nan
    flat = pa.array(kept.reshape(-1))
    scale = patches.side / 224
    said = {
        "version": 2,
        "run": {"slide": f"{path.stem}.svs"},
        "frame": {"width": 10_000, "level0_width": 10_000 * scale, "mpp": 0.25 * scale},
        "model": "sha256:1",
        "untrained": False,
    }
    columns = {
        "x": pa.array((patches.origins[:, 0] / scale).astype(np.int64)),
        "y": pa.array((patches.origins[:, 1] / scale).astype(np.int64)),
        "x0": pa.array(patches.origins[:, 0]),
        "y0": pa.array(patches.origins[:, 1]),
        "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        "error": pa.array([faults.get(row) for row in range(len(vectors))], pa.string()),
    }
    schema_metadata = {"pathserve": json.dumps(said | (about or {}))}
    pq.write_table(pa.table(columns).replace_schema_metadata(schema_metadata), path)
    return path


def write_first_version(
    path: Path, patches: Patches, vectors: npt.NDArray[np.float32], level: int = 0
) -> Path:
    """Write a table of the first version, which tells no place in level 0 and no resolution."""
    missing = pa.array([False] * len(vectors))
    columns = {
        "level": pa.array([level] * len(vectors), pa.int32()),
        "x": pa.array(patches.origins[:, 0]),
        "y": pa.array(patches.origins[:, 1]),
        "vector": pa.FixedSizeListArray.from_arrays(
            pa.array(vectors.reshape(-1)), vectors.shape[1], mask=missing
        ),
        "error": pa.nulls(len(vectors), pa.string()),
    }
    said = {"where": f"/slides/{path.stem}.png", "level": level, "model": "sha256:1"}
    pq.write_table(pa.table(columns).replace_schema_metadata({"pathserve": json.dumps(said)}), path)
    return path
