"""When to stop: a store that is down fails a hundred thousand blocks in a minute, all of them for nothing."""

from __future__ import annotations

import threading

from serving.archive.faults import MAY_PASS
from serving.archive.records import Failure, Refused
from serving.errors import Code

_PIECES, _SLIDES = 20, 3
"""So many pieces in a row, of so many slides: a slide alone may be at fault itself."""

_OF_OUTAGES = MAY_PASS | {Code.INVALID_CREDENTIALS_ERROR}


class Outages:
    """Counts the pieces that fail one after the other in a worker; safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slides: set[str] = set()
        self._pieces = 0

    def note(self, failure: Failure) -> None:
        """Count a failure.

        Raises
        ------
        Refused
            When there have been so many that the next ones would fail as well.
        """
        if failure.code not in _OF_OUTAGES:
            return
        with self._lock:
            self._slides.add(failure.slide)
            self._pieces += 1
            lasting = self._pieces >= _PIECES and len(self._slides) >= _SLIDES
        if lasting:
            raise Refused(
                f"{self._pieces} blocks of {len(self._slides)} slides have failed in a row, the last by "
                f"{failure.code}: {failure.sentence} What is done is kept: see to it, and run again, once "
                "with --retry-failed."
            )

    def end(self) -> None:
        """Count anew: something has succeeded."""
        with self._lock:
            self._slides.clear()
            self._pieces = 0
