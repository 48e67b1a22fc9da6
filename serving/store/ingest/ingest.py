"""The one pipeline: every instance of every door goes through ``Ingest.add``."""

from __future__ import annotations

from pathlib import Path

from serving.store.ingest.arrival import Arrival
from serving.store.ingest.outcome import Origin, Outcome


class Ingest:
    """Takes instances in; safe to use from many threads and processes at once."""

    def arrival(self) -> Arrival:
        """Return a new temporary file for a door to write to.

        Raises
        ------
        Refusal
            DiskFull.
        """
        raise NotImplementedError

    def add(self, temp: Path, origin: Origin) -> Outcome:
        """Take in the file at ``temp``, which stays the caller's.

        When this returns, what the outcome says holds after a crash, too.
        """
        raise NotImplementedError
