"""A level of a slide, opened for reading patches that are put together from its frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom.uid import JPEGBaseline8Bit

from dicom_io.codecs.frame_format import NATIVE
from dicom_io.colour.transforms import ToRgb
from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.geometry import Patch, Rect, UInt8Array, rounded
from dicom_io.reading import (
    PATCHES_AT_ONCE,
    Measure,
    OpenedImage,
    PatchTask,
    ReadOptions,
    ReadStage,
    in_chunks,
)
from dicom_io.resampling import Taps, resample, resize, taps
from dicom_io.slides.frame_fetcher import FrameFetcher
from dicom_io.slides.level import TiledLevel

DECODED_HERE = NATIVE | {JPEGBaseline8Bit}
"""Transfer syntaxes whose frames hardly ever need a decoding helper."""

MAX_DOWNSAMPLING = 8.0
"""Most that ``image_dimensions`` may shrink a level along an axis (Path Foundation API)."""

_FRAMES_AT_ONCE = 512
"""Frames, about, that the patches of one task are put together from."""

MAX_FRAME_USES = 500_000
"""Tiles that the patches of one instance may be put together from: 4,000 patches shrunk 8 times of 256-pixel
tiles take 324,000; tiles of a few pixels, which a store or a caller may claim, far more."""


class LevelImage(OpenedImage):
    """A level of a slide, whose patches are put together from its frames."""

    fetches = True

    def __init__(
        self,
        level: TiledLevel,
        options: ReadOptions,
        to_rgb: ToRgb,
        fetcher: FrameFetcher,
        measure: Measure,
    ) -> None:
        self._measure = measure
        self._level = level
        self._to_rgb = to_rgb
        self._fetcher = fetcher
        self._form = level.form
        self.width, self.height = options.image_dimensions or (level.width, level.height)
        self._scale_x, self._scale_y = level.width / self.width, level.height / self.height
        if max(self._scale_x, self._scale_y) > MAX_DOWNSAMPLING:
            raise ImageError(
                ImageCode.DICOM_IMAGE_DOWNSAMPLING_TOO_LARGE_ERROR,
                f"An image of {self.width}x{self.height} pixels is asked for of a level of "
                f"{level.width}x{level.height}; at most {MAX_DOWNSAMPLING:.0f}x smaller is allowed. Use a "
                "smaller level of the pyramid.",
                Remedy.ANOTHER_SIZE,
            )
        # As far as the metadata says; a store may send frames in another syntax.
        self.decodes_elsewhere = next(iter(level.transfer_syntaxes), None) not in DECODED_HERE
        self.memory_bytes = fetcher.bytes_ahead

    def extra_frames(self, patches: int) -> int:
        """Return how many frames are decoded for so many patches, beyond one for each of them.

        A patch of a resized level counts ceil(scale) squared, but never more than the level has frames.
        """
        per_patch = math.ceil(self._scale_x) * math.ceil(self._scale_y)
        return max(0, min(per_patch * patches, self._level.frames) - patches) if per_patch > 1 else 0

    def read(self, patches: Sequence[Patch]) -> Iterator[PatchTask]:
        """Return tasks by the tiles that patches begin in, so that few frames are held at a time."""
        regions = [self._region(patch) for patch in patches]
        touched_by_each = [self._level.touched(region) for region in regions]
        touched = sum(touched_by_each)
        if touched > MAX_FRAME_USES:
            raise ImageError(
                ImageCode.DICOM_ERROR,
                f"These patches are put together from {touched} tiles of {self._level.tile_width}x"
                f"{self._level.tile_height} pixels, more than this service reads at once; ask for fewer.",
            )
        # Tiles may be of a few pixels and come in many bytes each: the fewer patches then wait for theirs.
        at_once = max(1, min(PATCHES_AT_ONCE, _FRAMES_AT_ONCE // max(1, *touched_by_each)))
        across, down = self._level.tile_width, self._level.tile_height
        order = sorted(range(len(patches)), key=lambda i: (regions[i].y // down, regions[i].x // across))
        self._fetcher.plan([self._frames(regions[i]) for i in order])
        return (self._task(patches, indexes) for indexes in in_chunks(order, at_once))

    def _task(self, patches: Sequence[Patch], indexes: Sequence[int]) -> PatchTask:
        some = [patches[index] for index in indexes]
        return PatchTask(
            indexes,
            pixels=lambda: [self._pixels(patch) for patch in some],
            wait=lambda: self._fetch(some),
            ready=lambda: False,
        )

    def _fetch(self, patches: Sequence[Patch]) -> None:
        """Wait for the frames of these patches."""
        with self._measure(ReadStage.FETCH):
            for patch in patches:
                self._fetcher.wait(self._frames(self._region(patch)))

    def _pixels(self, patch: Patch) -> UInt8Array:
        """Put a patch together, transform its colours, then bring it to its size."""
        if self._scale_x == self._scale_y == 1:
            return self._rgb(self._region(patch))
        if self._scale_x >= 1 and self._scale_y >= 1:
            return resize(self._rgb(self._region(patch)), patch.width, patch.height)
        return self._enlarged(patch)

    def close(self) -> None:
        """Stop fetching."""
        self._fetcher.close()

    def _frames(self, region: Rect) -> list[int]:
        return [frame for frame, _ in self._level.tiles(region)]

    def _region(self, patch: Patch) -> Rect:
        """Return the pixels of the level that a patch of the resized level is made of; empty for none."""
        if self._scale_x >= 1 and self._scale_y >= 1:
            across, down = self._scale_x, self._scale_y
            return rounded(patch.x * across, patch.y * down, patch.right * across, patch.bottom * down)
        inside = patch.clip(self.width, self.height)
        if inside is None:
            return Rect(0, 0, 0, 0)
        rows, columns = self._taps(inside)
        return Rect(columns.first, rows.first, columns.last - columns.first + 1, rows.last - rows.first + 1)

    def _taps(self, inside: Rect) -> tuple[Taps, Taps]:
        """Return how the pixels of a rectangle of the resized level are made, along both axes."""
        rows = taps(inside.y, inside.height, self.height, self._level.height)
        return rows, taps(inside.x, inside.width, self.width, self._level.width)

    def _enlarged(self, patch: Patch) -> UInt8Array:
        out = np.zeros((patch.height, patch.width, 3), np.uint8)
        inside = patch.clip(self.width, self.height)
        if inside is not None:
            out[inside.within(patch)] = resample(self._rgb(self._region(patch)), *self._taps(inside))
        return out

    def _rgb(self, region: Rect) -> UInt8Array:
        """Return a region of the level in the wanted colours; what is outside of the image is black."""
        pixels = np.zeros((region.height, region.width, self._form.samples), np.uint8)
        inside = region.clip(self._level.width, self._level.height)
        frames = list(self._level.tiles(region))
        with self._measure(ReadStage.DECODE):
            for frame, tile in frames:
                # Tiles at the edges reach beyond the image, and hold anything there.
                if inside is not None and (part := tile.intersection(inside)) is not None:
                    pixels[part.within(region)] = self._fetcher.pixels(frame)[part.within(tile)]
        self._fetcher.done_with(frame for frame, _ in frames)
        with self._measure(ReadStage.COLOUR):
            return self._to_rgb(pixels)
