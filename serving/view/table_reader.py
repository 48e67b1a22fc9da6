"""Reading tables in a process of their own, one at a time: the files are anybody's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import orjson

from serving.errors import Code, ServiceError, unavailable

REFUSED = 3
"""Exit status of the child where its answer is what is wrong: code and description."""

_WAIT_S = 60.0
_MOST_S = 300.0

MOST_BYTES = 5 << 30
"""Of addresses: what the largest table takes, as bytes, numbers, text and JSON, and the libraries."""

_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
_FEW_ADDRESSES = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Threads and pools reserve more than they use, and what is reserved is what is bounded."""


class TableReader:
    """Reads tables; one object for a process. Safe for many threads.

    Parameters
    ----------
    most_bytes:
        Addresses that reading one may take.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._one = threading.Lock()

    def read(self, data: bytes | bytearray) -> bytes:
        """Return what ``tables.read_table`` finds, as JSON.

        Raises
        ------
        ServiceError
            As that does; SERVICE_UNAVAILABLE_ERROR while others are read.
        """
        if not self._one.acquire(timeout=_WAIT_S):
            raise unavailable("Another table is being read here; try again soon.")
        try:
            run = subprocess.run(
                [sys.executable, "-P", "-m", "serving.view.table_child", str(self._most_bytes)],
                input=data,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what goes wrong may quote the file
                env={name: os.environ[name] for name in _KEPT if name in os.environ} | _FEW_ADDRESSES,
                timeout=_MOST_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise _too_large() from None
        except OSError as error:
            raise unavailable("There is no room for another process here; try again soon.") from error
        finally:
            self._one.release()
        if run.returncode == REFUSED:
            code, description = orjson.loads(run.stdout)
            raise ServiceError(Code(code), description)
        if run.returncode != 0:
            raise _too_large()
        return run.stdout


def _too_large() -> ServiceError:
    return ServiceError(
        Code.INVALID_REQUEST_FIELD_ERROR,
        "The file takes more memory or time to read than a table of this service does; choose one that "
        "`pathserve embed` has finished.",
    )
