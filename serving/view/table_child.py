"""Reads one table from its standard input, within bounds (``python -m serving.view.table_child BYTES``).

A file of a few kilobytes may say that a row has a thousand million numbers, and the library would make room
for them. So it is read where that ends this process alone.
"""

from __future__ import annotations

import resource
import sys

import orjson

from serving.errors import ServiceError
from serving.view.table_reader import REFUSED
from serving.view.tables import read_table

_CPU_S = 120


def main() -> None:
    """Answer the table as JSON."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    most = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        answer, status = orjson.dumps(read_table(sys.stdin.buffer.read()).as_json()), 0
    except ServiceError as error:
        answer, status = orjson.dumps([error.code, error.description]), REFUSED
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
