"""The memory slab: pixels and vectors shared by one client and the encoder process.

A slab is one anonymous memory file (``memfd_create``), so it needs no room in /dev/shm and
vanishes with the last process that maps it. Slot ``i`` holds one patch and, once it has been
embedded, its vector. Pages are taken from the system when a slot is first written.

Its size is sealed: whoever reads a page that another process has truncated away is killed by SIGBUS
(memfd_create(2)), and clients, which decode strangers' bytes, must not be able to kill the encoder.

Nothing here synchronises the two processes. A slot changes hands by a packet on the socket: what one side
wrote before it sent, the other sees after it has received, since both are system calls.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from model.encoder import PATCH_BYTES, PATCH_SHAPE, PixelBatch, Vectors

_FLOAT32_BYTES = 4
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True, slots=True)
class Slab:
    """A mapped slab.

    Attributes
    ----------
    fd:
        The memory file; the owner of the slab closes it.
    pixels:
        uint8 ``[slots, 224, 224, 3]``, shared.
    vectors:
        float32 ``[slots, dimension]``, shared.
    """

    fd: int
    pixels: PixelBatch
    vectors: Vectors

    @property
    def slots(self) -> int:
        """Number of slots."""
        return len(self.pixels)

    def close_fd(self) -> None:
        """Close the descriptor; the mapping lives on as long as its arrays do."""
        os.close(self.fd)


def slab_bytes(slots: int, dimension: int) -> int:
    """Return the size of a slab in bytes."""
    return slots * (PATCH_BYTES + dimension * _FLOAT32_BYTES)


def create_slab(slots: int, dimension: int) -> Slab:
    """Make a new slab of zeros for ``slots`` patches and vectors of ``dimension`` numbers."""
    fd = os.memfd_create("pathserve-slab", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, slab_bytes(slots, dimension))
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return map_slab(fd, slots, dimension)
    except BaseException:
        os.close(fd)
        raise


def map_slab(fd: int, slots: int, dimension: int) -> Slab:
    """Map a slab that another process made.

    Raises
    ------
    ValueError
        When the memory file is smaller than the slab it is said to hold, or could become so.
    OSError
        When it is not a memory file.
    """
    size = slab_bytes(slots, dimension)
    # The seal comes before the size: without one, the size may change after it was checked.
    if not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
        raise ValueError("the memory file is not sealed against shrinking")
    if slots < 1 or os.fstat(fd).st_size < size:
        raise ValueError(f"the memory file is too small for {slots} slots")
    memory = mmap.mmap(fd, size)
    pixels = np.frombuffer(memory, np.uint8, slots * PATCH_BYTES).reshape(slots, *PATCH_SHAPE)
    vectors = np.frombuffer(memory, np.float32, offset=slots * PATCH_BYTES).reshape(slots, dimension)
    return Slab(fd, pixels, vectors)


class SlotPool:
    """Free slots of a slab: the lowest first, so that few pages are ever touched, and in runs.

    Patches that lie side by side are a batch as they are; others the encoder has to gather first. Not safe
    for threads: its owner has a lock.
    """

    def __init__(self, slots: int) -> None:
        self._is_free = bytearray(b"\1" * slots)
        self.free = slots
        """Number of free slots."""

    def take(self, count: int) -> list[int]:
        """Take at most ``count`` free slots, in as few runs as halving finds; none when all are in use."""
        taken: list[int] = []
        run = count = min(count, self.free)
        while len(taken) < count:
            run = min(run, count - len(taken))
            first = self._is_free.find(b"\1" * run)
            if first < 0:
                run = (run + 1) // 2
                continue
            self._is_free[first : first + run] = bytes(run)
            taken += range(first, first + run)
        self.free -= count
        return taken

    def give_back(self, slots: Iterable[int]) -> None:
        """Return slots that neither side uses any more."""
        for slot in slots:
            self._is_free[slot] = 1
            self.free += 1
