"""How large a batch is: by what a device gains, how long others wait, and its memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from model.runtimes.largest_batch import largest_batch


def device(fixed_s: float, patch_s: float, room: int = 1 << 20) -> Callable[[int], float | None]:
    return lambda size: fixed_s + patch_s * size if size <= room else None


@pytest.mark.parametrize(
    ("seconds_of", "size"),
    [
        (device(0.002, 0.0002), 128),  # a card like an L4
        (device(0.0015, 0.00003), 256),  # one like an H100
        (device(0.0, 0.001), 32),  # nothing is fixed: larger batches only wait
        (device(0.05, 0.001), 32),  # 64 patches would take more than a tenth of a second
        (device(0.0015, 0.00003, room=100), 64),
        (device(0.0015, 0.00003, room=10), 32),
    ],
)
def test_a_batch_is_as_large_as_pays(seconds_of: Callable[[int], float | None], size: int) -> None:
    assert largest_batch(seconds_of) == size
