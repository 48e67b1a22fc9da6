"""What the encoder runs at once: slots of its clients' slabs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model.batching import Queued
from model.encoder import PixelBatch
from model.transport.slab import Slab

StreamKey = tuple[int, int]
"""(number of the connection, number of the request on it)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Slots of clients' slabs that are embedded together.

    Attributes
    ----------
    queued:
        The slots, each with its stream.
    slabs:
        By number of the connection. Held here so that the memory stays mapped while the batch runs, even
        if the client disconnects meanwhile.
    started:
        ``time.monotonic()`` seconds.
    """

    queued: Sequence[Queued[StreamKey, int]]
    slabs: dict[int, Slab]
    started: float

    def __len__(self) -> int:
        return len(self.queued)

    def pixels(self, buffer: PixelBatch) -> PixelBatch:
        """Return the patches in one block, as a model needs them: uint8 ``[n, 224, 224, 3]``.

        Slots that lie side by side are one already, and are read where they are: nobody writes them before
        the batch is answered. Others are copied into the beginning of a buffer.
        """
        if (run := self._run()) is not None:
            return run
        patches = buffer[: len(self)]
        self.copy_pixels(patches)
        return patches

    def copy_pixels(self, places: PixelBatch) -> None:
        """Copy each patch to its place."""
        for place, queued in zip(places, self.queued, strict=True):
            place[...] = self.slabs[queued.stream[0]].pixels[queued.item]

    def _run(self) -> PixelBatch | None:
        number, first = self.queued[0].stream[0], self.queued[0].item
        for offset, queued in enumerate(self.queued):
            if queued.item != first + offset or queued.stream[0] != number:
                return None
        run: PixelBatch = self.slabs[number].pixels[first : first + len(self)]
        return run
