"""Patches of an ordinary encoded image, wherever its bytes come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from dicom_io.codecs.software import file_decoders, frame_decoder, resizer
from dicom_io.colour.transforms import ToRgb
from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.geometry import Patch, Rect, Sampling, UInt8Array, crop
from dicom_io.made_of import UNREAD, ImageIdentity, Reading, colour_reading
from dicom_io.once import Once
from dicom_io.reading import Needs, OpenedImage, PatchTask, ReadOptions, ReadStage, in_chunks
from dicom_io.resampling import Resampling, resize
from dicom_io.sources.session import ReadSession
from dicom_io.sources.shared_raster import SharedRaster

MAX_RESIZED_SIDE = 10_000
"""Longest side, in pixels, that ``image_dimensions`` may ask for (Path Foundation API)."""

_CHANNELS_AT_MOST = 4


class RasterImage(OpenedImage):
    """An encoded image opened for reading patches: decoded once, whatever their number.

    Parameters
    ----------
    shared:
        The encoded image.
    done:
        Called when no more of it will be read.
    alone:
        Whether nobody else reads the encoded image.

    Attributes
    ----------
    source_size:
        (width, height) in pixels before any resize.
    """

    def __init__(
        self,
        shared: SharedRaster,
        options: ReadOptions,
        session: ReadSession,
        done: Callable[[], None] = lambda: None,
        *,
        alone: bool = False,
    ) -> None:
        self._options, self._transforms = options, session.context.transforms
        self._measure, self._waits, self._done = session.measure, session.waits, done
        self._header = header = shared.header()
        self._profile: bytes | str | None = UNREAD  # before it is decoded
        self.source_size = (header.width, header.height)
        self.decodes_elsewhere = header.decodes_elsewhere
        self.width, self.height = options.image_dimensions or self.source_size
        if max(self.width, self.height) > MAX_RESIZED_SIDE and options.image_dimensions:
            raise ImageError(
                ImageCode.IMAGE_DIMENSION_ERROR,
                f"An image of {self.width}x{self.height} pixels is asked for; "
                f"at most {MAX_RESIZED_SIDE} pixels a side are allowed.",
                Remedy.ANOTHER_SIZE,
            )
        # What image files say of their resolution is mostly a printer's: it is not believed.
        self.sampling = Sampling(header.width, header.height, options.stored_spacing, self.width, self.height)
        self.memory_bytes = header.bytes + _CHANNELS_AT_MOST * (
            header.width * header.height + self.width * self.height
        )
        self._shared, self._alone, self._bytes = shared, alone, header.bytes

    def read(self, patches: Sequence[Patch]) -> Iterator[PatchTask]:
        """Return tasks in the order of the patches; the first of them decodes for all.

        An image that is a patch is decoded to where it is wanted.
        """
        if self._alone and [*patches] == [Rect(0, 0, *self.source_size)] and self._is_as_stored:
            yield PatchTask((0,), self._whole, into=self._whole_to)
            return
        loaded = Once(self._load)
        for indexes in in_chunks(range(len(patches))):
            pixels = partial(self._cut, loaded, [patches[index] for index in indexes])
            if indexes[0] == 0:
                yield PatchTask(indexes, pixels)
            else:
                # Whoever waits for the first one should not keep a thread of a pool while doing so.
                yield PatchTask(indexes, pixels, lambda: loaded.wait(self._waits), lambda: loaded.done)

    def needs(self, patches: Sequence[Patch]) -> Needs:
        """Return the size of the encoded image."""
        return Needs(None, self._bytes, "the size of the encoded image")

    def reading(self) -> Reading:
        """Return what patches have been made of; see ``OpenedImage.reading``."""
        header, resampling = self._header, Resampling.of(self.sampling)
        syntax = header.syntax
        return Reading(
            identity=ImageIdentity("image", header.format, header.digest),
            sampling=self.sampling,
            resampling=resampling,
            resizer=None if resampling is Resampling.NONE else resizer(),
            colour=colour_reading(self._profile, self._options.icc_target, self._transforms),
            scaled_by_caller=self._options.stored_spacing is not None,
            require_inside=self._options.require_inside,
            decoders=file_decoders(header.format) if syntax is None else (frame_decoder(syntax),),
            transfer_syntaxes=() if syntax is None else (syntax,),
        )

    def close(self) -> None:
        """Let others who share the image know."""
        self._done()

    @property
    def _is_as_stored(self) -> bool:
        return (self.width, self.height) == self.source_size

    def _whole(self) -> list[UInt8Array]:
        pixels = np.empty((self.height, self.width, 3), np.uint8)
        self._whole_to([pixels])
        return [pixels]

    def _whole_to(self, places: Sequence[UInt8Array]) -> None:
        (place,) = places
        with self._measure(ReadStage.DECODE):
            raster = self._shared.raster_at(place)
        self._profile = raster.icc_profile
        channels = raster.pixels.shape[2]
        to_rgb = self._transforms.to_rgb(raster.icc_profile, self._options.icc_target, channels)
        with self._measure(ReadStage.COLOUR):
            pixels = to_rgb(raster.pixels)
            if pixels is not place:
                place[...] = pixels

    def _load(self) -> tuple[UInt8Array, ToRgb]:
        """Decode and resize."""
        with self._measure(ReadStage.DECODE):
            raster = self._shared.raster()
            pixels = resize(raster.pixels, self.width, self.height)
        self._profile = raster.icc_profile
        channels = raster.pixels.shape[2]
        return pixels, self._transforms.to_rgb(raster.icc_profile, self._options.icc_target, channels)

    def _cut(self, loaded: Once[tuple[UInt8Array, ToRgb]], patches: Sequence[Patch]) -> list[UInt8Array]:
        """Cut out patches, then transform their colours: decode, resize, crop, ICC, RGB, in this order."""
        pixels, to_rgb = loaded.get()
        with self._measure(ReadStage.COLOUR):
            return [to_rgb(crop(pixels, patch)) for patch in patches]
