"""What ``similar`` looks for: vectors of patches that show it, in a file that ``pathserve embed`` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from serving.config.settings import SettingsError
from serving.heads.head import SAME_RESOLUTION, HeadError
from serving.webhooks.analyses.errors import AnalysisError
from serving.webhooks.analyses.patches import Float32Array

_VARIABLE = "PATHSERVE_TECHCYTE_REFERENCE"
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference set.

    Attributes
    ----------
    name:
        For a person to read: the file's, without its ending.
    vectors:
        float32 ``[m, dimension]``, finite, at least one.
    um_per_px:
        Resolution of the patches; ``None`` where the file does not tell.
    encoder_digest:
        Of the encoder that made the vectors.
    untrained:
        Whether its weights are random.
    """

    name: str
    vectors: Float32Array
    um_per_px: float | None
    encoder_digest: str
    untrained: bool

    def require(self, encoder_digest: str, um_per_px: float) -> None:
        """Refuse to be compared with vectors of another encoder or resolution.

        Raises
        ------
        AnalysisError
        """
        if encoder_digest != self.encoder_digest:
            raise AnalysisError(
                f'The reference "{self.name}" was made by the encoder {self.encoder_digest}, but '
                f"{encoder_digest} runs; the operator makes it anew with `pathserve embed`."
            )
        if self.um_per_px is not None and not abs(um_per_px / self.um_per_px - 1) <= SAME_RESOLUTION:
            raise AnalysisError(
                f'The reference "{self.name}" has {self.um_per_px:g} µm/px and the scan\'s patches '
                f"{um_per_px:g}; the operator sets PATHSERVE_TECHCYTE_UM_PER_PX to that of the reference."
            )


def read_reference(path: Path) -> Reference:
    """Read a reference set.

    Raises
    ------
    SettingsError
        When the file cannot be used, or what reads it is not installed.
    """
    if missing := [name for name in ("pyarrow", "h5py") if find_spec(name) is None]:
        raise SettingsError(f"{_VARIABLE} needs {' and '.join(missing)}: install pathserve[embed].")
    try:
        with path.open("rb") as file:
            is_hdf5 = file.read(len(_HDF5)) == _HDF5
        return _of_hdf5(path) if is_hdf5 else _of_parquet(path)
    except OSError as error:
        raise SettingsError(f"{_VARIABLE}: {path} cannot be read: {error.strerror or error}.") from error
    except HeadError as error:
        raise SettingsError(f"{_VARIABLE}: {error}") from error


def _of_parquet(path: Path) -> Reference:
    from serving.webhooks.heads.vectors import read_vectors  # noqa: PLC0415  # an extra's

    found = read_vectors(path)
    return Reference(found.slide, found.vectors, found.um_per_px, found.encoder_digest, found.untrained)


def _of_hdf5(path: Path) -> Reference:
    import h5py  # noqa: PLC0415  # an extra's

    try:
        with h5py.File(path) as file:
            about: Mapping[str, Any] = json.loads(file.attrs["pathserve"])
            vectors = np.asarray(file["features"][()], np.float32)
        digest, frame = str(about["model"]), about.get("frame") or {}
        mpp, untrained = frame.get("mpp"), bool(about.get("untrained"))
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise HeadError(f"{path} is not vectors of pathserve embed.") from error
    vectors = vectors[np.isfinite(vectors).all(axis=1)] if vectors.ndim == 2 else vectors[:0]
    if not len(vectors):
        raise HeadError(f"{path} has no vector.")
    return Reference(path.stem, vectors, None if mpp is None else float(mpp), digest, untrained)
