"""A table of one image's vectors: Parquet, in parts until it is complete, so that a run can be resumed.

During a run its rows are in ``OUT.parts/``, one file for each chunk of patches, each written whole or not at
all. ``run.json`` beside them identifies the run, so that only the same command resumes from these parts. A
run that has written none does not block another.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.encoder import Vectors

_ABOUT = b"pathserve"
_RUN, _MODEL, _PARTS = "run.json", "model", "*.parquet"


class OutputError(Exception):
    """The output cannot be written, or is of another run; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Patches of one chunk, with a vector or an error each.

    Attributes
    ----------
    origins:
        (x, y) of the patches.
    vectors:
        float32 ``[dimension]``, or ``None`` where there is an error.
    errors:
        ``CODE: description``, or ``None``.
    """

    origins: Sequence[tuple[int, int]]
    vectors: Sequence[Vectors | None]
    errors: Sequence[str | None]


class Output:
    """The table of one run.

    Parameters
    ----------
    path:
        Where the table is written.
    about:
        What identifies the run, as JSON; the parts of two runs that differ in it are not mixed.

    Raises
    ------
    OutputError
        When parts of another run are there, or the table itself.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path = path
        self._about = about
        with _named(path):
            if path.exists():
                raise OutputError(f"{path} is there already; name another file, or remove it.")
            self._folder = path.with_name(path.name + ".parts")
        with _named(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._check_about()

    def _check_about(self) -> None:
        run = self._folder / _RUN
        if any(self._folder.glob(_PARTS)):
            if _read_json(run) != self._about:
                raise OutputError(
                    f"{self._folder} holds parts of another run; finish that one, or remove the folder."
                )
            return
        # A run that has written no part leaves nothing to resume.
        (self._folder / _MODEL).unlink(missing_ok=True)
        _write(run, json.dumps(self._about, indent=1).encode())

    def leave(self) -> None:
        """Remove the folder of parts if there is no part in it."""
        with contextlib.suppress(OSError):
            if not any(self._folder.glob(_PARTS)):
                shutil.rmtree(self._folder)

    def has(self, chunk: int) -> bool:
        """Return whether a chunk has been written."""
        return self._part(chunk).exists()

    def write(self, chunk: int, rows: Rows, constants: dict[str, str | int | None], model: str) -> None:
        """Write a chunk.

        Parameters
        ----------
        constants:
            Values of the columns study, series, instance and level.
        model:
            Digest of the weights that made the vectors.

        Raises
        ------
        OutputError
            When other parts are of another model, or the disk is full.
        """
        with _named(self._folder):
            self._require_model(model)
        count = len(rows.origins)
        names = ("study", "series", "instance")
        columns = {
            **{name: pa.array([constants[name]] * count, pa.string()) for name in names},
            "level": pa.array([constants["level"]] * count, pa.int32()),
            "x": pa.array([x for x, _ in rows.origins], pa.int64()),
            "y": pa.array([y for _, y in rows.origins], pa.int64()),
            "vector": _column(rows.vectors),
            "error": pa.array(rows.errors, pa.string()),
        }
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), sink)
        with _named(self._folder):
            _write(self._part(chunk), sink.getvalue().to_pybytes())

    def complete(self, chunks: int) -> tuple[int, int]:
        """Put the parts together and remove them; return the numbers of rows and of errors.

        Raises
        ------
        OutputError
            When a part is damaged, or the disk is full; the parts that are whole stay.
        """
        with _named(self._path):
            tables = [_read_part(self._part(chunk)) for chunk in range(chunks)]
            # A part without a single vector does not know their length.
            schema = next(
                (t.schema for t in tables if t.schema.field("vector").type != pa.null()), tables[0].schema
            )
            model = (self._folder / _MODEL).read_text()
            schema = schema.with_metadata({_ABOUT: json.dumps(self._about | {"model": model})})
            with _whole(self._path) as file, pq.ParquetWriter(file, schema) as writer:
                for table in tables:
                    writer.write_table(table.cast(schema))
        shutil.rmtree(self._folder, ignore_errors=True)
        errors = sum(table.num_rows - table.column("error").null_count for table in tables)
        return sum(table.num_rows for table in tables), errors

    def _require_model(self, model: str) -> None:
        file = self._folder / _MODEL
        if not file.exists():
            _write(file, model.encode())
        elif file.read_text() != model:
            raise OutputError(
                f"The parts in {self._folder} were made by another model; use that one, or remove the folder."
            )

    def _part(self, chunk: int) -> Path:
        return self._folder / f"{chunk:06}.parquet"


def _column(vectors: Sequence[Vectors | None]) -> pa.Array:
    """Return vectors as a column; without any, their length is unknown, and so is the column's type."""
    dimension = next((len(v) for v in vectors if v is not None), 0)
    if not dimension:
        return pa.nulls(len(vectors))
    flat = np.concatenate([np.zeros(dimension, np.float32) if v is None else v for v in vectors])
    missing = pa.array([v is None for v in vectors])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), dimension, mask=missing)


def _read_json(path: Path) -> object:
    """Return the contents of a file; ``None`` where it is missing or cut off."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _read_part(path: Path) -> pa.Table:
    try:
        with path.open("rb") as file:
            return pq.read_table(file)
    except pa.ArrowException as error:
        raise OutputError(f"{path} is damaged; remove it, and the same command makes it again.") from error


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with _whole(path) as file:
        file.write(data)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that is moved into place once it is completely written, and is removed otherwise."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError that names the file and what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = " Make room; the same command goes on from there." if full else ""
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.{hint}") from error
