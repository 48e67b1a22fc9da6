"""The table that ``pathserve embed`` writes: Parquet, in parts until it is complete, so that it can go on.

While a run lasts its rows are in ``OUT.parts/``, a file for each chunk of patches, each written whole or not
at all. What the run is about is in ``run.json`` beside them; another run does not go on with these parts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.encoder import Vectors

_ABOUT = b"pathserve"


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
        What the run is about, JSON; two runs that differ in it do not mix.

    Raises
    ------
    OutputError
        When parts of another run are there, or the table itself.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path = path
        self._folder = path.with_name(path.name + ".parts")
        self._about = about
        if path.exists():
            raise OutputError(f"{path} is there already; name another file, or remove it.")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._check_about()
        except OSError as error:
            raise OutputError(f"{self._folder} cannot be written: {error.strerror}.") from error

    def _check_about(self) -> None:
        run = self._folder / "run.json"
        if not run.exists():
            _write(run, json.dumps(self._about, indent=1).encode())
        elif json.loads(run.read_bytes()) != self._about:
            raise OutputError(
                f"{self._folder} holds parts of another run; finish that one, or remove the folder."
            )

    def has(self, chunk: int) -> bool:
        """Say whether a chunk has been written."""
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
            When other parts are of another model.
        """
        self._require_model(model)
        dimension = next((len(v) for v in rows.vectors if v is not None), 0)
        flat = [np.zeros(dimension, np.float32) if v is None else v for v in rows.vectors]
        values = pa.array(np.concatenate(flat) if flat else np.empty(0, np.float32))
        missing = pa.array([v is None for v in rows.vectors])
        vectors = (
            pa.FixedSizeListArray.from_arrays(values, dimension, mask=missing)
            if dimension
            else pa.nulls(len(rows.vectors))
        )
        count = len(rows.origins)
        columns = {
            **{
                name: pa.array([constants[name]] * count, pa.string())
                for name in ("study", "series", "instance")
            },
            "level": pa.array([constants["level"]] * count, pa.int32()),
            "x": pa.array([x for x, _ in rows.origins], pa.int64()),
            "y": pa.array([y for _, y in rows.origins], pa.int64()),
            "vector": vectors,
            "error": pa.array(rows.errors, pa.string()),
        }
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), sink)
        _write(self._part(chunk), sink.getvalue().to_pybytes())

    def complete(self, chunks: int) -> tuple[int, int]:
        """Put the parts together and remove them; return the numbers of rows and of errors."""
        tables = [pq.read_table(self._part(chunk)) for chunk in range(chunks)]
        # A part without a single vector does not know their length.
        schema = next(
            (t.schema for t in tables if t.schema.field("vector").type != pa.null()), tables[0].schema
        )
        model = (self._folder / "model").read_text()
        schema = schema.with_metadata({_ABOUT: json.dumps(self._about | {"model": model})})
        temporary = self._path.with_name(self._path.name + ".tmp")
        rows = errors = 0
        with pq.ParquetWriter(temporary, schema) as writer:
            for table in tables:
                writer.write_table(table.cast(schema))
                rows += table.num_rows
                errors += table.num_rows - table.column("error").null_count
        temporary.replace(self._path)
        shutil.rmtree(self._folder)
        return rows, errors

    def _require_model(self, model: str) -> None:
        file = self._folder / "model"
        if not file.exists():
            _write(file, model.encode())
        elif file.read_text() != model:
            raise OutputError(
                f"The parts in {self._folder} were made by another model; use that one, or remove the folder."
            )

    def _part(self, chunk: int) -> Path:
        return self._folder / f"{chunk:06}.parquet"


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
