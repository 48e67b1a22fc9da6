"""The output of one slide: which of its files are still missing, and writing them when all rows are there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from serving.output import parquet
from serving.output.files import OutputError, named
from serving.output.formats import Format, writer
from serving.output.lock import locked
from serving.output.parts import Parts
from serving.output.table import (
    PROVENANCE,
    VERSION,
    About,
    Identity,
    Model,
    PatchFrame,
    Rows,
    dimension_of,
    joined,
    provenance_of,
    table_of,
)
from serving.provenance import merged


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows an output has, and how many of them have an error in place of a vector.

    Attributes
    ----------
    left_out:
        Patches beside them that are not as good as was asked for.
    """

    rows: int
    errors: int
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Paths:
    """Where an output is written, in each of the formats that are wanted.

    Attributes
    ----------
    files:
        At least one; the first gives the folder of parts its name.
    """

    files: Mapping[Format, Path]

    @property
    def first(self) -> Path:
        """The file that is spoken of."""
        return next(iter(self.files.values()))

    @property
    def parts(self) -> Path:
        """The folder of a run's parts."""
        return self.first.with_name(self.first.name + ".parts")

    def missing(self, run: About, model: Callable[[], str | None]) -> tuple[Format, ...]:
        """Return the formats that have not been written.

        Parameters
        ----------
        run:
            What was asked for; a file of the same run is as good as written.
        model:
            Returns the digest of the weights in use, where it is known; called when a file is there.

        Raises
        ------
        OutputError
            When a file is there that is of another run or another model.
        """
        return tuple(kind for kind, path in self.files.items() if not _is_written(kind, path, run, model))


def _is_written(kind: Format, path: Path, run: About, model: Callable[[], str | None]) -> bool:
    with named(path):
        if not path.exists():
            return False
        found = writer(kind).about(path)
    if not isinstance(found, Mapping) or (found.get("version"), found.get("run")) != (VERSION, run):
        raise OutputError(f"{path} is there already, of something else; name another file, or remove it.")
    if (digest := model()) is not None and digest != found.get("model"):
        raise OutputError(f"{path} was made by another model; name another file, or remove it.")
    return True


@dataclass(frozen=True, slots=True)
class Slide:
    """What the rows of an output have in common."""

    identity: Identity
    frame: PatchFrame
    about: About = field(repr=False)


class Output:
    """The output of one run over one slide.

    Parameters
    ----------
    kinds:
        Formats that are to be written.

    Raises
    ------
    OutputError
        When parts of another run are there, or another process writes the same output.
    """

    def __init__(self, paths: Paths, kinds: Sequence[Format], slide: Slide) -> None:
        for kind in kinds:
            writer(kind)  # a library that is missing is better known before the work than after it
        self._paths, self._kinds, self._slide = paths, kinds, slide
        self._parts = Parts(paths.parts, slide.about)
        try:
            _require_missing(paths, kinds)
        except OutputError:
            self._parts.leave()
            raise

    def has(self, chunk: int) -> bool:
        """Return whether a chunk has been written."""
        return self._parts.has(chunk)

    def write(self, chunk: int, rows: Rows, model: Model) -> None:
        """Write a chunk; see ``Parts.write``."""
        self._parts.write(chunk, table_of(rows, self._slide.identity, self._slide.frame), model)

    def complete(self, bands: Sequence[Sequence[int]]) -> Count:
        """Put the parts together and remove them.

        Parameters
        ----------
        bands:
            Chunks whose patches come before those of the next band, row by row.

        Raises
        ------
        OutputError
            When a part is damaged or the disk is full: the parts that are whole stay. When not one patch has
            a vector: none does.
        """
        chunks = [chunk for band in bands for chunk in band]
        dimension = self._dimension(chunks)
        model = self._parts.model
        told = merged(record for chunk in chunks for record in provenance_of(self._parts.schema(chunk)))
        made = {
            "model": model.digest,
            "encoder": model.name,
            "untrained": model.untrained,
            **({PROVENANCE: told} if told else {}),
        }
        about = {**self._slide.about, **made}
        tables = (joined(self._parts.read(band), dimension) for band in bands)
        count = write_tables(self._paths, self._kinds, self._slide.frame, about, dimension, tables)
        self._parts.remove()
        return count

    def leave(self) -> None:
        """Leave the output to others; remove the folder of parts if there is no part in it."""
        self._parts.leave()

    def _dimension(self, chunks: Sequence[int]) -> int:
        for chunk in chunks:
            if (found := dimension_of(self._parts.schema(chunk).empty_table())) is not None:
                return found
        errors = (error for part in chunks for error in self._errors(part))
        first = next(errors, None)
        self._parts.remove()  # nothing to go on from: the same command tries again
        if first is None:
            raise OutputError("No patch is as good as --min-quality asks.")
        raise OutputError(f"Every patch failed, the first with {first}")

    def _errors(self, chunk: int) -> list[str]:
        (table,) = self._parts.read([chunk])
        return [error for error in table.column("error").to_pylist() if error is not None]


def write_tables(
    paths: Paths,
    kinds: Sequence[Format],
    frame: PatchFrame,
    about: About,
    dimension: int,
    tables: Iterable[pa.Table],
) -> Count:
    """Write all rows in each of the formats.

    Raises
    ------
    OutputError
        When a file cannot be written; what is not whole is removed.
    """
    rows = errors = 0
    with contextlib.ExitStack() as files:
        open_files = []
        for kind in kinds:
            path = paths.files[kind]
            files.enter_context(named(path))
            open_files.append(files.enter_context(writer(kind).writing(path, about, frame, dimension)))
        for table in tables:
            for one in open_files:
                one.append(table)
            rows += table.num_rows
            errors += table.num_rows - table.column("error").null_count
    return Count(rows, errors, int(about.get("patches", rows)) - rows)


def convert(paths: Paths, kinds: Sequence[Format]) -> Count:
    """Write the formats that are missing from the Parquet file, which is complete; nothing is embedded.

    Raises
    ------
    OutputError
        As ``write_tables``.
    """
    done = paths.files[Format.PARQUET]
    about = parquet.about(done)
    assert isinstance(about, dict)  # it has been asked which run it is of
    frame = PatchFrame(**about["frame"])
    with named(paths.parts), locked(paths.parts):
        try:
            _require_missing(paths, kinds)
            return write_tables(paths, kinds, frame, about, parquet.dimension(done), parquet.tables(done))
        finally:  # no part is of use where all rows are there
            shutil.rmtree(paths.parts, ignore_errors=True)


def _require_missing(paths: Paths, kinds: Sequence[Format]) -> None:
    """Raise where a run that had the output has finished since it was looked at."""
    if done := [paths.files[kind] for kind in kinds if paths.files[kind].exists()]:
        raise OutputError(f"{done[0]} has just been written by another run.")
