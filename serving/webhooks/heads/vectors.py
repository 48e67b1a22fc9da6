"""Tables of ``pathserve embed``, as a head is trained on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model.encoder import PATCH_SIDE
from serving.heads.head import Float32Array, HeadError

_ABOUT = b"pathserve"


@dataclass(frozen=True, slots=True)
class SlideVectors:
    """Vectors of one slide's patches.

    Attributes
    ----------
    slide:
        The table's name without its ending.
    names:
        All names that a list of labels may call the slide by.
    origins:
        int64 ``[n, 2]``: (x, y) of the patches' upper left corners in level-0 pixels.
    side:
        Of a patch, in level-0 pixels.
    vectors:
        float32 ``[n, dimension]``.
    um_per_px:
        Resolution of the patches; ``None`` where the table does not tell.
    encoder_digest:
        Of the encoder that made the vectors.
    untrained:
        Whether its weights are random.
    """

    slide: str
    names: frozenset[str]
    origins: npt.NDArray[np.int64]
    side: float
    vectors: Float32Array
    um_per_px: float | None
    encoder_digest: str
    untrained: bool


def read_vectors(path: Path) -> SlideVectors:
    """Read a table; patches that could not be embedded are left out.

    Raises
    ------
    HeadError
        When it is not a table of ``pathserve embed``, or tells no places in level 0.
    """
    try:
        # pyarrow would take a path for an address where it looks like one.
        with path.open("rb") as file:
            table = pq.read_table(file)
    except OSError as error:
        raise HeadError(f"{path} cannot be read: {error.strerror or error}.") from error
    except pa.ArrowException as error:
        raise HeadError(f"{path} is not a Parquet file.") from error
    about = _about(table, path)
    try:
        x, y = _columns_of_level_0(table, about, path)
        good = table.filter(pc.is_null(table.column("error")))
        vectors = _vectors(good)
    except KeyError as error:
        raise HeadError(f"{path} is not a table of pathserve embed: {error.args[0]}.") from error
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.any():
        raise HeadError(f"{path} has no vector.")
    origins = np.stack([good.column(x).to_numpy(), good.column(y).to_numpy()], axis=1).astype(np.int64)
    frame = _mapping(about.get("frame"))
    scale = frame["level0_width"] / frame["width"] if frame else 1.0
    mpp = frame.get("mpp")
    return SlideVectors(
        slide=path.stem,
        names=_names(path, about),
        origins=origins[finite],
        side=PATCH_SIDE * scale,
        vectors=vectors[finite],
        um_per_px=None if mpp is None else float(mpp),
        encoder_digest=str(about["model"]),
        untrained=bool(about.get("untrained")),
    )


def _about(table: pa.Table, path: Path) -> Mapping[str, Any]:
    try:
        about = json.loads((table.schema.metadata or {})[_ABOUT])
        if "model" in about:
            return _mapping(about)
    except (KeyError, ValueError, TypeError):
        pass
    raise HeadError(f"{path} is not a table of pathserve embed: it does not say which model made it.")


def _columns_of_level_0(table: pa.Table, about: Mapping[str, Any], path: Path) -> tuple[str, str]:
    """Return the names of the columns that hold patches' places in level 0."""
    if "x0" in table.column_names:
        return "x0", "y0"
    if about.get("level") != 0:
        raise HeadError(
            f"{path} does not tell where its patches are in level 0; embed the slide again with this version."
        )
    return "x", "y"


def _vectors(table: pa.Table) -> Float32Array:
    kind = table.schema.field("vector").type
    if not pa.types.is_fixed_size_list(kind):  # no patch could be embedded
        return np.zeros((0, 1), np.float32)
    flat = table.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(table.num_rows, kind.list_size)


def _names(path: Path, about: Mapping[str, Any]) -> frozenset[str]:
    """Return the table's name, and those of the slide itself, with and without an ending."""
    named = [path.name, _mapping(about.get("run")).get("slide"), about.get("where")]
    names = [Path(name).name for name in named if isinstance(name, str) and name]
    return frozenset(names) | {Path(name).stem for name in names}


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}
