"""Vectors as HDF5 in the layout of TRIDENT, which CLAM's loaders read as well.

``features`` float32 ``[patches, dimension]`` and ``coords`` int64 ``[patches, 2]``, the upper left pixels of
the patches at level 0, with the attributes that TRIDENT gives both. Patches that failed are left out, since
those who load a bag of vectors expect numbers: they are in ``failed/coords`` with ``failed/errors``.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dicom_io.quality.measures import Measure
from model.encoder import PATCH_SIDE
from serving.output.files import as_text, whole_path
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

if TYPE_CHECKING:
    from typing_extensions import Buffer

_ROWS_A_CHUNK = 256

_POWERS = (80, 60, 40, 20, 10, 5, 2.5, 1.25)
_ABOUT_AS_STRONG = 1.15
"""How far a scanner's pixels may be from 10 µm / magnification: Hamamatsu's 20x has 0.4537 µm, not 0.5."""


def magnification(mpp: float) -> float:
    """Return the magnification that pixels of so many µm go by: a usual one, else 10 / mpp."""
    power = 10 / mpp
    usual = min(_POWERS, key=lambda one: max(one / power, power / one))
    return usual if max(usual / power, power / usual) <= _ABOUT_AS_STRONG else round(power, 2)


class _Sink(io.RawIOBase):
    """A file that HDF5 writes to, which keeps what goes wrong to itself until it is asked.

    HDF5 does not survive a write that fails, as where the disk is full: it raises at one place, and crashes
    the process at another, when it closes the file.
    """

    def __init__(self, file: io.FileIO) -> None:
        super().__init__()
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Buffer) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        with self._noted():
            while rest:  # a raw file may take only some of it
                rest = rest[self._file.write(rest) :]
        return size

    def truncate(self, size: int | None = None) -> int:
        with self._noted():
            self._file.truncate(size)
        return size or 0

    def flush(self) -> None:
        with self._noted():
            self._file.flush()

    def readinto(self, buffer: Buffer) -> int:
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def require_sound(self) -> None:
        """Raise the first error there was."""
        if self.error is not None:
            raise self.error

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error


class _Hdf5Table:
    def __init__(self, file: h5py.File, dimension: int, sink: _Sink, *, quality: bool) -> None:
        self._sink = sink
        self._quality = _measures(file) if quality else None
        rows = _ROWS_A_CHUNK
        self._features = file.create_dataset(
            "features", (0, dimension), np.float32, maxshape=(None, dimension), chunks=(rows, dimension)
        )
        self._coords = file.create_dataset("coords", (0, 2), np.int64, maxshape=(None, 2), chunks=(rows, 2))
        self._failed = file.create_dataset(
            "failed/coords", (0, 2), np.int64, maxshape=(None, 2), chunks=(rows, 2)
        )
        self._errors = file.create_dataset(
            "failed/errors", (0,), h5py.string_dtype(), maxshape=(None,), chunks=(rows,)
        )

    def append(self, table: pa.Table) -> None:
        """Write rows at the end."""
        failed = pc.is_valid(table.column("error"))
        good, bad = table.filter(pc.invert(failed)), table.filter(failed)
        _extend(self._features, vectors_of(good))
        _extend(self._coords, columns_of(good, "x0", "y0"))
        if self._quality is not None:
            _extend(self._quality, quality_of(good))
        _extend(self._failed, columns_of(bad, "x0", "y0"))
        _extend(self._errors, np.array(bad.column("error").to_pylist(), object))
        self._sink.require_sound()


def _measures(file: h5py.File) -> h5py.Dataset:
    count, rows = len(QUALITY), _ROWS_A_CHUNK
    made = file.create_dataset(
        "quality", (0, count), np.float32, maxshape=(None, count), chunks=(rows, count)
    )
    made.attrs["measures"] = [str(one) for one in Measure]
    return made


@contextlib.contextmanager
def writing(path: Path, about: About, frame: PatchFrame, dimension: int) -> Iterator[_Hdf5Table]:
    """Yield what writes an HDF5 file; see ``serving.output.formats``."""
    shared = {"name": as_text(path.stem), "savetodir": as_text(path.parent)}
    with whole_path(path) as temporary, io.FileIO(temporary, "w+") as raw:
        sink = _Sink(raw)
        with h5py.File(sink, "w") as file:
            file.attrs[ABOUT] = json.dumps(about)
            table = _Hdf5Table(file, dimension, sink, quality=has_quality(about))
            file["features"].attrs.update(shared | {"encoder": str(about["encoder"])})
            file["coords"].attrs.update(shared | _of_coords(frame, int(about["run"]["stride"])))
            yield table
        sink.require_sound()


def _of_coords(frame: PatchFrame, stride: int) -> dict[str, float]:
    """Return TRIDENT's attributes of the coordinates; magnifications where the sizes of pixels are known."""
    attributes: dict[str, float] = {
        "patch_size": PATCH_SIDE,
        "patch_size_level0": frame.patch_side0,
        "overlap": max(0, PATCH_SIDE - stride),
        "level0_width": frame.level0_width,
        "level0_height": frame.level0_height,
    }
    for name, mpp in (("level0_magnification", frame.level0_mpp), ("target_magnification", frame.mpp)):
        if mpp is not None:
            attributes[name] = magnification(mpp)
    return attributes


def about(path: Path) -> object:
    """Return what an HDF5 file says about its run."""
    try:
        with h5py.File(path) as file:
            return json.loads(file.attrs[ABOUT])
    except (OSError, KeyError, ValueError, TypeError):
        return None


def _extend(dataset: h5py.Dataset, rows: np.ndarray) -> None:
    if len(rows):
        dataset.resize(len(dataset) + len(rows), axis=0)
        dataset[-len(rows) :] = rows
