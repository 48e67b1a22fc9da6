"""How long one read of a store may take, and how often it may be tried: one rule for all reads."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from dicom_io.waiting import Stop

_RETRIES_WHEN_LOST = 3
_BACK_OFF_S = 0.1


@dataclass(slots=True)
class Patience:
    """How long one read may take, and how often it has been tried.

    Attributes
    ----------
    deadline:
        ``time.monotonic()`` seconds for everything, retries included.
    stop:
        Ends it before that.
    """

    deadline: float
    stop: Stop = field(default_factory=Stop)
    _tried: int = 0

    def again(self, most: int = _RETRIES_WHEN_LOST, asked_s: float = 0.0) -> bool:
        """Pause before another attempt and return True; return False at once if there must not be one.

        Parameters
        ----------
        most:
            Attempts after the first.
        asked_s:
            Seconds that the store asked to wait (Retry-After).
        """
        pause = max(asked_s, _BACK_OFF_S * 2.0**self._tried)
        if self._tried >= most or time.monotonic() + pause >= self.deadline:
            return False
        self._tried += 1
        return not self.stop.wait(pause)

    def made_progress(self) -> None:
        """Start counting attempts again."""
        self._tried = 0
