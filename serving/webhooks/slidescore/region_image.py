"""A region of a slide at Slide Score as a source of patches, for the encoder that all others use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from dicom_io.codecs.software import file_decoders, resizer
from dicom_io.geometry import Patch, Rect, UInt8Array
from dicom_io.made_of import UNREAD, ColourReading, ImageIdentity, Reading
from dicom_io.reading import Measure, OpenedImage, PatchTask, ReadOptions, ReadStage, in_chunks
from dicom_io.resampling import Resampling
from dicom_io.sources.session import ReadSession
from model.encoder import PATCH_SIDE
from serving.webhooks.slidescore.scale import Scale
from serving.webhooks.slidescore.tiles import Place, Tile, Tiles

_IMAGE_BYTES = 16 << 20
"""What the patches that are being put together hold; the tiles have a bound of their own."""


@dataclass(frozen=True, slots=True)
class RegionSource:
    """Squares of ``scale.side`` level-0 pixels, each of which is one patch.

    The frame of its patches is a row: patch ``i`` begins at ``(i * 224, 0)``, and shows the square at
    ``origins[i]``. So squares may lie anywhere, and no coordinate is rounded on the way.

    Attributes
    ----------
    origins:
        (x, y) of the squares' upper left corners in level-0 pixels.
    """

    tiles: Tiles = field(repr=False)
    scale: Scale
    origins: tuple[tuple[int, int], ...]
    origin = None
    shared_key = None

    @property
    def patches(self) -> tuple[Patch, ...]:
        """All its patches, in the order of ``origins``."""
        return tuple(Patch(i * PATCH_SIDE, 0, PATCH_SIDE, PATCH_SIDE) for i in range(len(self.origins)))

    def open(self, options: ReadOptions, session: ReadSession) -> RegionImage:
        """Return the image; nothing is sent before patches are read."""
        return RegionImage(self, session.measure)


class RegionImage(OpenedImage):
    """A region, opened."""

    decodes_elsewhere = False
    fetches = True

    def __init__(self, source: RegionSource, measure: Measure) -> None:
        self._source = source
        self._measure = measure
        self.width, self.height = len(source.origins) * PATCH_SIDE, PATCH_SIDE
        self.memory_bytes = _IMAGE_BYTES
        self.sampling = source.scale.sampling

    def read(self, patches: Sequence[Patch]) -> Iterator[PatchTask]:
        """Return tasks in the order of the patches, which is that of the plan."""
        squares = [self._square(patch) for patch in patches]
        return (
            self._task(indexes, [squares[i] for i in indexes]) for indexes in in_chunks(range(len(patches)))
        )

    def reading(self) -> Reading:
        """Return what patches have been made of; see ``OpenedImage.reading``."""
        resampling = Resampling.of(self.sampling)
        return Reading(
            identity=ImageIdentity(
                "tiles", "Deep Zoom", level=self._source.scale.level.number, name=self._source.tiles.name
            ),
            sampling=self.sampling,
            resampling=resampling,
            resizer=None if resampling is Resampling.NONE else resizer(),
            colour=ColourReading(UNREAD),
            scaled_by_caller=False,
            require_inside=True,
            decoders=file_decoders("JPEG"),
        )

    def _square(self, patch: Patch) -> Rect:
        """Return what a patch shows, in pixels of the tiles' level."""
        x, y = self._source.origins[patch.x // PATCH_SIDE]
        return self._source.scale.on_level(Rect(x, y, self._source.scale.side, self._source.scale.side))

    def _task(self, indexes: Sequence[int], squares: Sequence[Rect]) -> PatchTask:
        tiles = self._source.tiles
        held: dict[Place, Tile] = {}

        def wait() -> None:
            with self._measure(ReadStage.FETCH):
                held.update(tiles.start(squares))
                tiles.wait(held)

        def pixels() -> list[UInt8Array]:
            with self._measure(ReadStage.DECODE):
                found = [self._patch(square, held) for square in squares]
            held.clear()  # the task may be kept for longer than its tiles are needed
            return found

        return PatchTask(indexes, pixels, wait, ready=lambda: False)

    def _patch(self, square: Rect, held: dict[Place, Tile]) -> UInt8Array:
        pixels = self._source.tiles.pixels(square, held)
        self._source.tiles.done_with(square)
        return shrunk_to_patch(pixels)


def shrunk_to_patch(pixels: UInt8Array) -> UInt8Array:
    """Return a square of pixels, area-averaged to the side of a patch."""
    if pixels.shape[:2] == (PATCH_SIDE, PATCH_SIDE):
        return pixels
    small = cv2.resize(pixels, (PATCH_SIDE, PATCH_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
