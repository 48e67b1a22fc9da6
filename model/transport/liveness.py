"""Whether an encoder works, judged by what it sends and when."""

from __future__ import annotations

from dataclasses import dataclass

HEARTBEAT_S = 0.25
"""Seconds between two status messages of an encoder, whether a batch runs or not."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is tolerated of an encoder, in seconds.

    Attributes
    ----------
    silent_s:
        Longest time without a status message.
    busy_s:
        Longest time in one batch.
    """

    silent_s: float
    busy_s: float


READY = Limits(silent_s=1.5, busy_s=60.0)
"""Beyond these an encoder gets no new requests. It may recover, so the answer must come soon."""

WORKING = Limits(silent_s=10.0, busy_s=120.0)
"""Beyond these an encoder will not recover. It is killed, so there must be no doubt left."""


@dataclass(frozen=True, slots=True)
class Liveness:
    """An encoder's last status.

    A value: the thread that receives replaces it as a whole, so that any thread may judge it without a lock.

    Attributes
    ----------
    received_at:
        ``time.monotonic()`` seconds.
    busy_s:
        For how long its batch had been running then; 0 between batches.
    """

    received_at: float
    busy_s: float = 0.0

    def within(self, limits: Limits, now: float) -> bool:
        """Return whether the encoder keeps the limits at ``now``, in ``time.monotonic()`` seconds."""
        return now - self.received_at <= limits.silent_s and self.busy_s <= limits.busy_s
