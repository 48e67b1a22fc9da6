"""Each patch alone, several at once: vectors that depend on nothing but the patch, to the last bit.

A product of matrices sums in another order when it is of another size, when more threads share it, and for
some libraries even for another row: so a vector's last bits depend on the batch that the patch was in. A
batch of one patch, each operation in one thread, leaves nothing to depend on. Cores are filled with several
such batches at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from queue import SimpleQueue

import numpy as np

from model.encoder import Mend, ModelError, PixelBatch, Vectors
from model.runtimes.parity import parity_patches

Embed = Callable[[PixelBatch], Vectors]
"""uint8 ``[n, 224, 224, 3]`` to float32 ``[n, dimension]``."""


class EachAlone:
    """Embeds a batch patch by patch.

    Parameters
    ----------
    lanes:
        Functions that may run at the same time, each for one batch of one patch at a time. A single one is
        called in the caller's thread.
    """

    def __init__(self, lanes: Sequence[Embed]) -> None:
        self._free: SimpleQueue[Embed] = SimpleQueue()
        for lane in lanes:
            self._free.put(lane)
        self._threads = ThreadPoolExecutor(len(lanes), "embed") if len(lanes) > 1 else None

    def __call__(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, dimension]``; the first patch that fails raises."""
        alone = [patches[row : row + 1] for row in range(len(patches))]
        if self._threads is None or len(alone) == 1:
            return np.concatenate([self._embed(patch) for patch in alone])
        running = [self._threads.submit(self._embed, patch) for patch in alone]
        wait(running)  # also for those behind one that fails: they read what the caller writes to next
        return np.concatenate([one.result() for one in running])

    def _embed(self, patch: PixelBatch) -> Vectors:
        lane = self._free.get()
        try:
            return lane(patch)
        finally:
            self._free.put(lane)


def cores() -> int:
    """Return how many cores this process may use: as many patches are embedded at once."""
    return len(os.sched_getaffinity(0))


def require_same_again(embed: Embed, model: str) -> None:
    """Embed patches twice, in another order: a model may draw random numbers, or keep something.

    Raises
    ------
    ModelError
        When the vectors are not the same to the last bit.
    """
    patches = parity_patches()
    if not np.array_equal(embed(patches), embed(np.ascontiguousarray(patches[::-1]))[::-1]):
        raise ModelError(
            f"The model {model} gives a patch another vector when it is embedded again, so it is not "
            "reproducible.",
            Mend.REPRODUCIBLE,
        )
