"""How the runner is: it writes a small file in memory every second, which launcher and HTTP workers read."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from serving.errors import ServiceError, unavailable

FRESH_S = 10.0
"""A runner that has written nothing for longer is not well."""


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """What a runner says about itself.

    Attributes
    ----------
    is_ready:
        Whether it does jobs: its encoder is loaded, or a service embeds for it.
    database:
        Whether the database answered.
    trouble:
        What is wrong, in a sentence; empty when nothing is.
    stuck:
        Jobs out of time whose handlers have not returned.
    embedder:
        Facts about what embeds.
    written:
        When (``time.monotonic()``, which is one clock for all processes of a machine).
    """

    pid: int
    is_ready: bool = False
    database: bool = True
    running: int = 0
    stuck: int = 0
    trouble: str = ""
    embedder: dict[str, object] = field(default_factory=dict)
    written: float = 0.0

    def write(self, path: Path) -> None:
        """Replace the file."""
        new = path.with_suffix(".new")
        new.write_text(json.dumps({**asdict(self), "written": time.monotonic()}), encoding="utf-8")
        os.replace(new, path)

    @property
    def age_s(self) -> float:
        """How long ago it was written."""
        return time.monotonic() - self.written

    def require_well(self) -> None:
        """Raise what a health check is answered when jobs are not done as they should be.

        Raises
        ------
        ServiceError
            SERVICE_UNAVAILABLE_ERROR
        """
        if self.age_s > FRESH_S:
            raise _away()
        if not self.database:
            raise unavailable("The store of jobs cannot be used.")
        if not self.is_ready:
            raise unavailable("The runner is starting: its encoder is being loaded.")
        if self.trouble:
            raise unavailable(self.trouble)


def read_status(path: Path) -> RunnerStatus:
    """Read what the runner has written last.

    Raises
    ------
    ServiceError
        SERVICE_UNAVAILABLE_ERROR when it has written nothing yet.
    """
    try:
        return RunnerStatus(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise _away() from None


def _away() -> ServiceError:
    return unavailable("The runner does not answer; it is being started.")
