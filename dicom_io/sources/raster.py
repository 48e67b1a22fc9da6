"""Patches of an ordinary encoded image, wherever its bytes come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dicom_io.colour.transforms import ToRgb
from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.geometry import Patch, UInt8Array, crop
from dicom_io.reading import PATCHES_AT_ONCE, ReadOptions
from dicom_io.resize import resize
from dicom_io.sources.session import ReadSession
from dicom_io.sources.shared_raster import SharedRaster
from dicom_io.stages import ReadStage

MAX_RESIZED_SIDE = 10_000
"""Longest side, in pixels, that ``image_dimensions`` may ask for (Path Foundation API)."""

_CHANNELS_AT_MOST = 4


class RasterImage:
    """An encoded image opened for reading patches: decoded once, whatever their number.

    Parameters
    ----------
    shared:
        The encoded image.
    done:
        Called when no more of it will be read.
    """

    remote = False
    patches_at_once = PATCHES_AT_ONCE

    def __init__(
        self,
        shared: SharedRaster,
        options: ReadOptions,
        session: ReadSession,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self._shared: SharedRaster | None = shared
        self._options, self._transforms = options, session.context.transforms
        self._measure, self._done = session.measure, done
        source = shared.size()
        self.decodes_elsewhere = shared.decodes_elsewhere
        self.width, self.height = options.image_dimensions or source
        if max(self.width, self.height) > MAX_RESIZED_SIDE and options.image_dimensions:
            raise ImageError(
                ImageCode.IMAGE_DIMENSION_ERROR,
                f"An image of {self.width}x{self.height} pixels is asked for; "
                f"at most {MAX_RESIZED_SIDE} pixels a side are allowed.",
                Remedy.ANOTHER_SIZE,
            )
        self.memory_bytes = _CHANNELS_AT_MOST * (source[0] * source[1] + self.width * self.height)
        self._pixels: UInt8Array | None = None
        self._to_rgb: ToRgb | None = None

    def extra_reads(self, patches: int) -> int:
        """Return 0: the image is decoded once, whatever is read of it."""
        return 0

    def plan(self, patches: Sequence[Patch]) -> Sequence[int]:
        """Read patches in their own order: all come from one array."""
        return range(len(patches))

    def load(self) -> None:
        """Decode and resize."""
        assert self._shared is not None, "close() comes last"
        with self._measure(ReadStage.DECODE):
            raster = self._shared.raster()
            self._pixels = resize(raster.pixels, self.width, self.height)
        self._to_rgb = self._transforms.to_rgb(
            raster.icc_profile, self._options.icc_target, raster.pixels.shape[2]
        )

    def fetch(self, patches: Sequence[Patch]) -> None:
        """Do nothing: the bytes are here."""

    def read(self, patch: Patch) -> UInt8Array:
        """Cut out one patch, then transform its colours: decode, crop, ICC, RGB, in this order."""
        assert self._pixels is not None, "load() comes first"
        assert self._to_rgb is not None, "load() comes first"
        with self._measure(ReadStage.COLOUR):
            return self._to_rgb(crop(self._pixels, patch))

    def close(self) -> None:
        """Let go of the pixels."""
        if self._shared is not None:
            self._shared = self._pixels = None
            self._done()
