"""A level of a slide, opened for reading patches that are put together from its frames."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydicom.uid import JPEGBaseline8Bit

from dicom_io.codecs.frame_format import NATIVE, FrameFormat
from dicom_io.colour.transforms import ToRgb
from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.geometry import Patch, UInt8Array
from dicom_io.reading import PATCHES_AT_ONCE, Measure, ReadOptions
from dicom_io.resampling import Taps, resample, taps
from dicom_io.resize import resize
from dicom_io.slides.frame_fetcher import FrameFetcher
from dicom_io.slides.level import Level, Region
from dicom_io.stages import ReadStage

DECODED_HERE = NATIVE | {JPEGBaseline8Bit}
"""Transfer syntaxes whose frames no decoding helper is needed for, nearly always."""

MAX_DOWNSAMPLING = 8.0
"""Most that ``image_dimensions`` may shrink a level along an axis (Path Foundation API)."""


_FRAMES_AT_ONCE = 512
"""Frames, about, that the patches of one task are put together from."""

MAX_FRAME_USES = 500_000
"""Tiles that the patches of one instance may be put together from: 4,000 patches shrunk 8 times of 256-pixel
tiles take 324,000; tiles of a few pixels, which a store or a caller may claim, far more."""


class LevelImage:
    """A level of a slide, whose patches are put together from its frames."""

    remote = True

    @property
    def decodes_elsewhere(self) -> bool:
        """Whether its frames are decoded by helpers, as far as the metadata says."""
        return self._level.instance.transfer_syntax not in DECODED_HERE

    def __init__(
        self,
        level: Level,
        options: ReadOptions,
        to_rgb: ToRgb,
        fetcher: FrameFetcher,
        form: FrameFormat,
        measure: Measure,
    ) -> None:
        self._measure = measure
        self.patches_at_once = PATCHES_AT_ONCE
        self._level = level
        self._to_rgb = to_rgb
        self._fetcher = fetcher
        self._form = form
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

    @property
    def memory_bytes(self) -> int:
        """Bytes of the frames that are held while patches are read."""
        return self._fetcher.bytes_ahead

    def extra_reads(self, patches: int) -> int:
        """Return what reading so many patches counts for beyond the patches themselves.

        A patch of a resized level counts ceil(scale) squared, but never more than the level has frames.
        """
        per_patch = math.ceil(self._scale_x) * math.ceil(self._scale_y)
        return max(0, min(per_patch * patches, self._level.frames) - patches) if per_patch > 1 else 0

    def plan(self, patches: Sequence[Patch]) -> Sequence[int]:
        """Order patches by the tiles they begin in, so that few frames are held at a time."""
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
        self.patches_at_once = max(1, min(PATCHES_AT_ONCE, _FRAMES_AT_ONCE // max(1, *touched_by_each)))
        across, down = self._level.tile_width, self._level.tile_height
        order = sorted(range(len(patches)), key=lambda i: (regions[i].y // down, regions[i].x // across))
        self._fetcher.plan([self._frames(regions[i]) for i in order])
        return order

    def load(self) -> None:
        """Do nothing: frames are decoded as they come."""

    def fetch(self, patches: Sequence[Patch]) -> None:
        """Wait for the frames of these patches."""
        for patch in patches:
            self._fetcher.wait(self._frames(self._region(patch)))

    def read(self, patch: Patch) -> UInt8Array:
        """Put a patch together, transform its colours, then bring it to its size."""
        if self._scale_x == self._scale_y == 1:
            return self._rgb(self._region(patch))
        if self._scale_x >= 1 and self._scale_y >= 1:
            return resize(self._rgb(self._region(patch)), patch.width, patch.height)
        return self._enlarged(patch)

    def close(self) -> None:
        """Stop fetching."""
        self._fetcher.close()

    def _frames(self, region: Region) -> list[int]:
        return [frame for frame, _ in self._level.tiles(region)]

    def _region(self, patch: Patch) -> Region:
        """Return the pixels of the level that a patch of the resized level is made of."""
        if self._scale_x >= 1 and self._scale_y >= 1:
            left, right = (_round(x * self._scale_x) for x in (patch.x_origin, patch.x_origin + patch.width))
            top, bottom = (_round(y * self._scale_y) for y in (patch.y_origin, patch.y_origin + patch.height))
            return Region(left, top, right - left, bottom - top)
        axes = self._taps(patch)
        if axes is None:
            return Region(0, 0, 0, 0)
        rows, columns = axes
        return Region(columns.first, rows.first, columns.last - columns.first + 1, rows.last - rows.first + 1)

    def _taps(self, patch: Patch) -> tuple[Taps, Taps] | None:
        """Return the taps of the part of a patch that is inside; ``None`` when nothing is."""
        left, right = max(patch.x_origin, 0), min(patch.x_origin + patch.width, self.width)
        top, bottom = max(patch.y_origin, 0), min(patch.y_origin + patch.height, self.height)
        if left >= right or top >= bottom:
            return None
        rows = taps(top, bottom - top, self.height, self._level.height)
        return rows, taps(left, right - left, self.width, self._level.width)

    def _enlarged(self, patch: Patch) -> UInt8Array:
        out = np.zeros((patch.height, patch.width, 3), np.uint8)
        axes = self._taps(patch)
        if axes is not None:
            rows, columns = axes
            inside = resample(self._rgb(self._region(patch)), rows, columns)
            y, x = max(-patch.y_origin, 0), max(-patch.x_origin, 0)
            out[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        return out

    def _rgb(self, region: Region) -> UInt8Array:
        """Return a region of the level in the wanted colours; what is outside of the image is black."""
        pixels = np.zeros((region.height, region.width, self._form.samples), np.uint8)
        frames = list(self._level.tiles(region))
        with self._measure(ReadStage.DECODE):
            for frame, tile in frames:
                self._paste(pixels, region, self._fetcher.pixels(frame), tile)
        self._fetcher.done_with(frame for frame, _ in frames)
        with self._measure(ReadStage.COLOUR):
            return self._to_rgb(pixels)

    def _paste(self, pixels: UInt8Array, region: Region, frame: UInt8Array, tile: Region) -> None:
        """Copy the part of a tile that is inside both the region and the image."""
        left, right = (
            max(region.x, tile.x),
            min(region.x + region.width, tile.x + tile.width, self._level.width),
        )
        top, bottom = (
            max(region.y, tile.y),
            min(region.y + region.height, tile.y + tile.height, self._level.height),
        )
        pixels[top - region.y : bottom - region.y, left - region.x : right - region.x] = frame[
            top - tile.y : bottom - tile.y, left - tile.x : right - tile.x
        ]


def _round(value: float) -> int:
    return math.floor(value + 0.5)
