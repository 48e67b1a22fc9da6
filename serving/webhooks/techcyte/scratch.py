"""Where slides are kept while a task is at work: a folder a task, of which nothing is left at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class TaskFolder:
    """The folder of one task, and how much may still be written to it."""

    path: Path


class Scratch:
    """Folders of tasks, in one folder of the runner's machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def clear(self) -> int:
        """Remove what killed processes have left, and return how many folders it were."""
        raise NotImplementedError

    @contextmanager
    def task(self) -> Iterator[TaskFolder]:
        """Yield a new folder, which is removed at the end."""
        raise NotImplementedError
