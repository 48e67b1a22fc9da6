"""Tables as Arrow IPC streams (https://arrow.apache.org/docs/format/Columnar.html).

nanoarrow writes them, and is imported when the first is asked for.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from nanoarrow.c_array import CArray
    from nanoarrow.schema import Schema


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    values:
        ``[rows]`` or ``[rows, length]``, of the type that the column gets; or texts, ``None`` for nulls.
    valid:
        bool ``[rows]``, which of the rows have a value; ``None`` where all have, and none may lack one.
    """

    name: str
    values: npt.NDArray[np.generic] | Sequence[str | None]
    valid: npt.NDArray[np.bool_] | None = None


def arrow_stream(columns: Sequence[Column], metadata: Mapping[str, str]) -> bytes:
    """Return a table as an Arrow IPC stream of one record batch.

    Parameters
    ----------
    columns:
        All of the same number of rows.
    metadata:
        Of the schema.
    """
    import nanoarrow as na
    from nanoarrow.ipc import StreamWriter

    made = {column.name: _array(column) for column in columns}
    schema = na.c_schema(na.struct({name: kind for name, (kind, _) in made.items()}, nullable=False))
    batch = na.c_array_from_buffers(
        schema.modify(metadata=dict(metadata)),
        length=len(columns[0].values),
        buffers=[None],
        null_count=0,
        children=[array for _, array in made.values()],
    )
    file = io.BytesIO()
    with StreamWriter.from_writable(file) as writer:
        writer.write_array(batch)
    return file.getvalue()


def _array(column: Column) -> tuple[Schema, CArray]:
    import nanoarrow as na

    values = column.values
    if not isinstance(values, np.ndarray):
        return na.string(), na.c_array(values, na.string())
    rows, bitmap = len(values), None
    if column.valid is not None:
        bitmap = np.packbits(column.valid, bitorder="little")
    nullable, nulls = bitmap is not None, 0 if bitmap is None else -1
    make = getattr(na, values.dtype.name)
    if values.ndim == 1:
        kind = make(nullable=nullable)
        return kind, na.c_array_from_buffers(kind, rows, [bitmap, values], null_count=nulls)
    item = make(nullable=False)
    numbers = na.c_array_from_buffers(item, values.size, [None, values.reshape(-1)], null_count=0)
    kind = na.fixed_size_list(item, values.shape[1], nullable=nullable)
    return kind, na.c_array_from_buffers(kind, rows, [bitmap], null_count=nulls, children=[numbers])
