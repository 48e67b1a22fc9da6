"""Tables are read in a process that may end."""

from __future__ import annotations

import base64

import numpy as np
import orjson
import pytest

from serving.errors import Code, ServiceError
from serving.view.table_reader import TableReader
from serving.view.tables import write_table


def parquet(rows: int) -> bytes:
    frame = {"level": 0, "width": 224 * rows, "height": 224, "level0_width": 224 * rows, "level0_height": 224}
    slide = {"study": None, "series": None, "instance": "a.svs", "format": "aperio", "digest": "d"}
    return write_table(
        {
            "frame": frame,
            "slide": slide,
            **{"model": "sha256:1", "encoder": "probe", "untrained": False, "dimension": 384},
            **{"x": list(range(0, 224 * rows, 224)), "y": [0] * rows, "errors": {}},
            "vectors": base64.b64encode(np.zeros((rows, 384), np.float16).tobytes()).decode(),
        }
    )


def test_a_table_is_read_whole() -> None:
    found = orjson.loads(TableReader().read(parquet(20_000)))
    assert len(found["x"]) == 20_000
    assert len(base64.b64decode(found["vectors"])) == 20_000 * 384 * 2


def test_a_file_that_takes_more_memory_than_it_may_is_refused_and_the_next_is_read() -> None:
    reader, large = TableReader(64 << 20), parquet(20_000)
    for _ in range(2):  # the turn was given back
        with pytest.raises(ServiceError, match="takes more memory") as refused:
            reader.read(large)
        assert refused.value.code is Code.INVALID_REQUEST_FIELD_ERROR
