"""The kinds of files that an output may be, and how each is written and asked which run it is of."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from serving.output.files import OutputError
from serving.output.table import About, PatchFrame


class Format(StrEnum):
    """A kind of file; its value is the ending of the file's name."""

    PARQUET = "parquet"
    HDF5 = "h5"
    ZARR = "zarr"
    GEOJSON = "geojson"


class TableWriter(Protocol):
    """Takes the rows of an output, some at a time, in the order of the patches."""

    def append(self, table: pa.Table) -> None:
        """Write rows; see ``serving.output.table``."""


class Writer(Protocol):
    """A module that writes and knows again one kind of file."""

    def writing(
        self, path: Path, about: About, frame: PatchFrame, dimension: int
    ) -> AbstractContextManager[TableWriter]:
        """Yield what writes a file at a path that is complete, or not there, when the block ends.

        Parameters
        ----------
        path:
            Of the file as it will be called.
        about:
            What is said about the run.
        dimension:
            Length of the vectors.

        Raises
        ------
        OSError
        """

    def about(self, path: Path) -> object:
        """Return what a file says about its run; ``None`` where it is not one of ours.

        Raises
        ------
        OSError
        """


_MODULES = {
    Format.PARQUET: "parquet",
    Format.HDF5: "hdf5",
    Format.ZARR: "anndata_zarr",
    Format.GEOJSON: "qupath",
}


def writer(kind: Format) -> Writer:
    """Return the module of a kind of file; its library is imported now.

    Raises
    ------
    OutputError
        When the library is not installed.
    """
    try:
        module: Writer = importlib.import_module(f"serving.output.{_MODULES[kind]}")
    except ModuleNotFoundError as error:
        extra = "zarr" if kind is Format.ZARR else "embed"
        raise OutputError(
            f"--format {kind} needs the library {error.name}: pip install 'pathserve[{extra}]'."
        ) from error
    return module
