"""How large batches should be on a device that does not share our cores: as large as still pays."""

from __future__ import annotations

from collections.abc import Callable

FIRST, LAST = 32, 256
"""Smallest and largest answer, in patches."""

_GAIN = 1.05
"""Least gain in patches a second for which a batch is made twice as large."""

_LONGEST_S = 0.1
"""Longest batch: it is what a request of one patch waits for."""


def largest_batch(seconds_of: Callable[[int], float | None]) -> int:
    """Return the batch size beyond which a device gains nothing, in patches.

    Most of a small batch's time is fixed, so its rate grows with its size, fast at first.

    Parameters
    ----------
    seconds_of:
        Returns how long a batch of so many patches takes; ``None`` where the device has no memory for it.
    """
    size = FIRST
    seconds = seconds_of(size)
    while seconds is not None and size < LAST:
        longer = seconds_of(2 * size)
        if longer is None or longer > _LONGEST_S or 2 * size / longer < _GAIN * size / seconds:
            break
        size, seconds = 2 * size, longer
    return size
