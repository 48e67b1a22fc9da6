"""A run's rows until its output is complete, so that it can be resumed.

They are in a folder ``OUT.parts/``, one Parquet file for each chunk of patches, each written whole or not at
all. ``run.json`` beside them identifies the run, so that only the same command resumes from these parts. A
run that has written none does not block another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from serving.output.files import OutputError, named, write
from serving.output.lock import locked
from serving.output.table import About, Model

_RUN, _MODEL, _PARTS = "run.json", "model.json", "*.parquet"


class Parts:
    """The parts of one run; they are this process's alone until ``leave``.

    Parameters
    ----------
    folder:
        Made if it is missing.
    about:
        What identifies the run, as JSON; the parts of two runs that differ in it are not mixed.

    Raises
    ------
    OutputError
        When parts of another run are there, or another process is writing them.
    """

    def __init__(self, folder: Path, about: About) -> None:
        self._folder = folder
        with named(folder):
            self._lock = locked(folder)
            try:
                self._begin(about)
            except BaseException:
                self._lock.close()
                raise

    def _begin(self, about: About) -> None:
        if any(self._folder.glob(_PARTS)):
            if _read_json(self._folder / _RUN) != about:
                raise OutputError(
                    f"{self._folder} holds parts of another run; finish that one, or remove the folder."
                )
            return
        # A run that has written no part leaves nothing to resume.
        (self._folder / _MODEL).unlink(missing_ok=True)
        write(self._folder / _RUN, json.dumps(about, indent=1).encode())

    @property
    def model(self) -> Model:
        """What made the vectors; known once a part is written.

        Raises
        ------
        OutputError
        """
        if (found := self._model()) is None:
            raise OutputError(f"{self._folder / _MODEL} is damaged; remove the folder, and begin again.")
        return found

    def has(self, chunk: int) -> bool:
        """Return whether a chunk has been written."""
        return self._part(chunk).exists()

    def write(self, chunk: int, table: pa.Table, model: Model) -> None:
        """Write a chunk.

        Parameters
        ----------
        model:
            What made the vectors.

        Raises
        ------
        OutputError
            When other parts are of another model, or the disk is full.
        """
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        with named(self._folder):
            self._require_model(model)
            write(self._part(chunk), sink.getvalue().to_pybytes())

    def read(self, chunks: Sequence[int]) -> list[pa.Table]:
        """Return chunks that have been written.

        Raises
        ------
        OutputError
            When a part is damaged; those that are whole stay.
        """
        return [_read_part(self._part(chunk)) for chunk in chunks]

    def schema(self, chunk: int) -> pa.Schema:
        """Return the columns of a chunk, reading no rows."""
        with _damaged(self._part(chunk)) as file:
            return pq.read_schema(file)

    def leave(self) -> None:
        """Leave the folder to others; remove it if there is no part in it."""
        if self._lock.closed:  # it is another run's by now
            return
        with self._lock, contextlib.suppress(OSError):
            if not any(self._folder.glob(_PARTS)):
                self.remove()

    def remove(self) -> None:
        """Remove all parts, and leave."""
        with self._lock:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _require_model(self, model: Model) -> None:
        if (found := self._model()) is None:
            write(self._folder / _MODEL, json.dumps(dataclasses.asdict(model)).encode())
        elif found.digest != model.digest:
            raise OutputError(
                f"The parts in {self._folder} were made by another model; use that one, or remove the folder."
            )

    def _model(self) -> Model | None:
        found = _read_json(self._folder / _MODEL)
        return Model(**found) if isinstance(found, dict) else None

    def _part(self, chunk: int) -> Path:
        return self._folder / f"{chunk:06}.parquet"


def _read_json(path: Path) -> object:
    """Return the contents of a file; ``None`` where it is missing or cut off."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _read_part(path: Path) -> pa.Table:
    with _damaged(path) as file:
        return pq.read_table(file)


@contextlib.contextmanager
def _damaged(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except pa.ArrowException as error:
        raise OutputError(f"{path} is damaged; remove it, and the same command makes it again.") from error
