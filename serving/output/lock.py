"""One run at a time on an output: two would take each other's unfinished files away."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from serving.output.files import OutputError

_NAME = "lock"
_ATTEMPTS = 100


def locked(folder: Path) -> BinaryIO:
    """Make a folder if it is missing, and lock it for this process until the file that is returned is closed.

    The system lets go of it when the process ends, however it does. Where a file system has no locks, nothing
    is held.

    Raises
    ------
    OutputError
        When another run has it.
    OSError
    """
    for _ in range(_ATTEMPTS):
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as closing:
            try:
                file = closing.enter_context((folder / _NAME).open("ab"))
                _lock(file)
                if os.path.samestat(os.fstat(file.fileno()), (folder / _NAME).stat()):
                    closing.pop_all()
                    return file
            except FileNotFoundError:
                pass  # the run that had it has just ended, and removed the folder
            except BlockingIOError as error:
                raise OutputError(
                    f"{folder} is in use by another run; wait until it has ended, or stop it."
                ) from error
    raise OutputError(f"{folder} is in use by other runs; try again.")


def _lock(file: BinaryIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # some network file systems have no locks
