"""A level of a slide, opened for reading patches that are put together from its frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.uid import JPEGBaseline8Bit

from dicom_io.codecs.frame_format import NATIVE
from dicom_io.codecs.software import frame_decoder, resizer
from dicom_io.colour.transforms import ColourTransforms, ToRgb
from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.geometry import Patch, Rect, Sampling, UInt8Array, rounded
from dicom_io.made_of import ImageIdentity, Reading, colour_reading
from dicom_io.reading import (
    PATCHES_AT_ONCE,
    SLOW_PATCHES_AT_ONCE,
    Measure,
    Needs,
    OpenedImage,
    PatchTask,
    ReadOptions,
    ReadStage,
    in_chunks,
)
from dicom_io.resampling import Resampling, Taps, resample, resize, taps
from dicom_io.slides.frame_fetcher import FrameFetcher
from dicom_io.slides.level import TiledLevel

DECODED_HERE = NATIVE | {JPEGBaseline8Bit}
"""Transfer syntaxes whose frames hardly ever need a decoding helper."""

MAX_DOWNSAMPLING = 8.0
"""Most that ``image_dimensions`` may shrink a level along an axis (Path Foundation API)."""

OWN_RESIZER = "pathserve"
"""Who resizes where it is no library."""

_FRAMES_AT_ONCE = 512
"""Frames, about, that the patches of one task are put together from."""

MAX_FRAME_USES = 500_000
"""Tiles that the patches of one instance may be put together from: 4,000 patches shrunk 8 times of 256-pixel
tiles take 324,000; tiles of a few pixels, which a store or a caller may claim, far more."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What a patch is made of: a region of the level, empty for none, and the frames that it touches."""

    patch: Patch
    region: Rect
    frames: list[int]


@dataclass(frozen=True, slots=True)
class LevelOrigin:
    """Where a level comes from, for whoever asks what its patches have been made of.

    Attributes
    ----------
    profile:
        Returns the level's own ICC profile, whether pixels are transformed by it or not, as
        ``made_of.colour_reading`` takes it; may ask the store. Raises Cancelled.
    reader:
        Library, with its version, of a store that gives pixels as such.
    """

    identity: ImageIdentity
    profile: Callable[[], bytes | str | None]
    reader: str | None = None


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
        origin: LevelOrigin,
        transforms: ColourTransforms,
    ) -> None:
        self._origin, self._options, self._transforms = origin, options, transforms
        self._measure = measure
        self._level = level
        self._to_rgb = to_rgb
        self._fetcher = fetcher
        self._form = level.form
        self.width, self.height = options.image_dimensions or (level.width, level.height)
        self.sampling = Sampling(
            level.width, level.height, options.stored_spacing or level.spacing, self.width, self.height
        )
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
        parts = self._parts(patches)
        # Tiles may be of a few pixels and come in many bytes each: the fewer patches then wait for theirs.
        most = SLOW_PATCHES_AT_ONCE if self.decodes_elsewhere else PATCHES_AT_ONCE
        at_once = max(1, min(most, _FRAMES_AT_ONCE // max(1, *(len(part.frames) for part in parts))))
        across, down = self._level.tile_width, self._level.tile_height
        order = sorted(
            range(len(patches)), key=lambda i: (parts[i].region.y // down, parts[i].region.x // across)
        )
        self._fetcher.plan([parts[i].frames for i in order])
        return (self._task([parts[i] for i in indexes], indexes) for indexes in in_chunks(order, at_once))

    def needs(self, patches: Sequence[Patch]) -> Needs:
        """Return how many frames the patches touch, and what is known of their bytes."""
        return self._fetcher.needs(len({frame for part in self._parts(patches) for frame in part.frames}))

    def _parts(self, patches: Sequence[Patch]) -> list[_Part]:
        """Return what the patches are made of.

        Raises
        ------
        ImageError
            DICOM_ERROR when they are too many tiles.
        """
        regions = [self._region(patch) for patch in patches]
        touched = sum(self._level.touched(region) for region in regions)
        if touched > MAX_FRAME_USES:
            raise ImageError(
                ImageCode.DICOM_ERROR,
                f"These patches are put together from {touched} tiles of {self._level.tile_width}x"
                f"{self._level.tile_height} pixels, more than this service reads at once; ask for fewer.",
            )
        return [
            _Part(patch, region, self._level.frames_in(region))
            for patch, region in zip(patches, regions, strict=True)
        ]

    def _task(self, parts: Sequence[_Part], indexes: Sequence[int]) -> PatchTask:
        return PatchTask(
            indexes,
            pixels=lambda: [self._pixels(part) for part in parts],
            wait=lambda: self._fetch(parts),
            ready=lambda: False,
            split=lambda: [
                self._task_of_one(part, index) for part, index in zip(parts, indexes, strict=True)
            ],
        )

    def _task_of_one(self, part: _Part, index: int) -> PatchTask:
        return PatchTask(
            (index,),
            pixels=lambda: [self._pixels(part)],
            wait=lambda: self._fetch_one(part),
            ready=lambda: False,
        )

    def _fetch(self, parts: Sequence[_Part]) -> None:
        """Wait for the frames of these patches."""
        with self._measure(ReadStage.FETCH):
            for part in parts:
                self._fetcher.wait(part.frames)

    def _fetch_one(self, part: _Part) -> None:
        """Wait for the frames of a patch, and let go of them if one does not come."""
        try:
            with self._measure(ReadStage.FETCH):
                self._fetcher.wait_for_each(part.frames)
        except ImageError:
            self._fetcher.done_with(part.frames)
            raise

    def _pixels(self, part: _Part) -> UInt8Array:
        """Put a patch together, transform its colours, then bring it to its size."""
        if self._scale_x == self._scale_y == 1:
            return self._rgb(part)
        if self._scale_x >= 1 and self._scale_y >= 1:
            return resize(self._rgb(part), part.patch.width, part.patch.height)
        return self._enlarged(part)

    def close(self) -> None:
        """Stop fetching."""
        self._fetcher.close()

    def reading(self) -> Reading:
        """Return what patches have been made of; see ``OpenedImage.reading``."""
        came_in, origin = self._fetcher.came_in, self._origin
        syntaxes = sorted(syntax for syntax in came_in if syntax is not None)
        decoders = {frame_decoder(syntax) for syntax in syntaxes}
        if None in came_in and origin.reader is not None:
            decoders.add(origin.reader)
        resampling = Resampling.of(self.sampling)
        enlarged = min(self._scale_x, self._scale_y) < 1
        return Reading(
            identity=origin.identity,
            sampling=self.sampling,
            resampling=resampling,
            # Patches of an enlarged level are cut out before they are resized, which OpenCV cannot.
            resizer=None if resampling is Resampling.NONE else OWN_RESIZER if enlarged else resizer(),
            colour=colour_reading(origin.profile(), self._options.icc_target, self._transforms),
            scaled_by_caller=self._options.stored_spacing is not None,
            require_inside=self._options.require_inside,
            decoders=tuple(sorted(decoders)),
            transfer_syntaxes=tuple(syntaxes),
        )

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

    def _enlarged(self, part: _Part) -> UInt8Array:
        patch = part.patch
        out = np.zeros((patch.height, patch.width, 3), np.uint8)
        inside = patch.clip(self.width, self.height)
        if inside is not None:
            out[inside.within(patch)] = resample(self._rgb(part), *self._taps(inside))
        return out

    def _rgb(self, part: _Part) -> UInt8Array:
        """Return a part of the level in the wanted colours; what is outside of the image is black."""
        region = part.region
        shape = (region.height, region.width, self._form.samples)
        inside = region.clip(self._level.width, self._level.height)
        pixels = np.empty(shape, np.uint8) if inside == region else np.zeros(shape, np.uint8)
        try:
            with self._measure(ReadStage.DECODE):
                if inside is not None:
                    self._put_together(inside, region, pixels)
        finally:
            self._fetcher.done_with(part.frames)
        with self._measure(ReadStage.COLOUR):
            return self._to_rgb(pixels)

    def _put_together(self, inside: Rect, region: Rect, pixels: UInt8Array) -> None:
        """Copy tiles to the pixels of a region, as far as they are inside of the level.

        Tiles at the edges reach beyond it, and hold anything there.
        """
        across, down = self._level.tile_width, self._level.tile_height
        right, bottom, at_x, at_y = inside.right, inside.bottom, region.x, region.y
        for frame, x, y in self._level.tiles(inside):
            left, top = max(x, inside.x), max(y, inside.y)
            end, low = min(x + across, right), min(y + down, bottom)
            tile = self._fetcher.pixels(frame)
            pixels[top - at_y : low - at_y, left - at_x : end - at_x] = tile[
                top - y : low - y, left - x : end - x
            ]
