"""Images whose pixels Google's client library has sent along as values of its state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from dicom_io.codecs.raster import RasterFile
from dicom_io.codecs.software import file_decoders, frame_decoder
from dicom_io.colour.profiles import IccTarget
from dicom_io.geometry import Patch, Sampling, UInt8Array
from dicom_io.made_of import UNREAD, ColourReading, ImageIdentity, Reading, colour_reading
from dicom_io.reading import (
    SLOW_PATCHES_AT_ONCE,
    Needs,
    OpenedImage,
    PatchTask,
    ReadOptions,
    ReadStage,
    in_chunks,
)
from dicom_io.resampling import Resampling
from dicom_io.sources.client_state import ImageState, bad_state, decode_base64
from dicom_io.sources.raster import RasterImage
from dicom_io.sources.session import ReadSession
from dicom_io.sources.shared_raster import SharedRaster
from dicom_io.web.gcs import GcsUri

PLACEHOLDER = "gs:///placeholder.png"
"""What the client gives as ``image_file_uri`` of an image that is in no bucket."""

_DECODED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class ClientImageSource:
    """``image_file_uri`` with pixels in ``ez_wsi_state``; the object itself is not read.

    Attributes
    ----------
    uri:
        The object that the pixels are said to be of; ``None`` for the placeholder. Its bucket must be an
        allowed one all the same.
    """

    state: ImageState
    uri: GcsUri | None
    origin = None
    shared_key = None

    def open(self, options: ReadOptions, session: ReadSession) -> OpenedImage:
        """Hold the state to the request and read the header of a whole image.

        Raises
        ------
        ImageError
            EZ_WSI_STATE_ERROR when sizes differ, or colours would be transformed twice.
        """
        state = self.state
        if self.uri is not None:
            session.context.gcs.check(self.uri)
        if state.normalised_to is not IccTarget.NONE:
            if state.normalised_to is not options.icc_target:
                raise bad_state(
                    f"its pixels are already transformed to {state.normalised_to}, and the request asks for "
                    f"{options.icc_target}"
                )
            options = replace(options, icc_target=IccTarget.NONE)
        if state.image is None:
            return ClientPatches(state, options, session)
        image = ClientImage(state.image, state.normalised_to, options, session)
        if state.size not in (None, image.source_size, (image.width, image.height)):
            raise bad_state(f"its image is not of {state.size[0]}x{state.size[1]} pixels")
        return image


@dataclass(frozen=True, slots=True)
class _ReadPatch:
    """What one patch came as."""

    digest: bytes
    format: str
    syntax: str | None
    icc_profile: bytes | None = field(repr=False)


def _by_client(reading: Reading, normalised_to: IccTarget) -> Reading:
    """Return a reading of pixels that the client may have transformed before: the profile is gone then."""
    if normalised_to is IccTarget.NONE:
        return reading
    return replace(reading, colour=ColourReading(UNREAD, normalised_to, None, by_client=True))


class ClientImage(RasterImage):
    """A whole image, whose colours the client may have transformed."""

    def __init__(
        self, text: str, normalised_to: IccTarget, options: ReadOptions, session: ReadSession
    ) -> None:
        context = session.context
        shared = SharedRaster(
            lambda: decode_base64(text), context.decoders, context.max_image_pixels, traced=session.traced
        )
        super().__init__(shared, options, session, alone=True)
        self._normalised_to = normalised_to

    def reading(self) -> Reading:
        """Return what patches have been made of; see ``OpenedImage.reading``."""
        return _by_client(super().reading(), self._normalised_to)


class ClientPatches(OpenedImage):
    """An image of which only the patches are here, each encoded by itself."""

    decodes_elsewhere = True
    """Which format each patch has, is seen when it is read."""

    def __init__(self, state: ImageState, options: ReadOptions, session: ReadSession) -> None:
        assert state.size is not None, "a state with patches has a size"
        if options.image_dimensions is not None and options.image_dimensions != state.size:
            raise bad_state(
                f"its patches are of an image of {state.size[0]}x{state.size[1]} pixels, and "
                f"{options.image_dimensions[0]}x{options.image_dimensions[1]} pixels are asked for"
            )
        self.width, self.height = state.size
        # The client has resized the image, if anybody has: how large its own pixels are is not told.
        self.sampling = Sampling(self.width, self.height, None, self.width, self.height)
        self._traced, self._options, self._normalised_to = session.traced, options, state.normalised_to
        # Of each patch that is read, where it is traced: written by several threads, each its own patches'.
        self._read: dict[Patch, _ReadPatch] = {}
        self._encoded: Mapping[Patch, str] = state.patches
        self._target = options.icc_target
        self._transforms, self._measure = session.context.transforms, session.measure
        self._decoders = session.context.decoders
        self.memory_bytes = 4 * _DECODED_AT_ONCE * max(p.width * p.height for p in state.patches)

    def read(self, patches: Sequence[Patch]) -> Iterator[PatchTask]:
        """Return tasks in the order of the patches."""
        for indexes in in_chunks(range(len(patches)), SLOW_PATCHES_AT_ONCE):
            yield self._task(patches, indexes)

    def _task(self, patches: Sequence[Patch], indexes: Sequence[int]) -> PatchTask:
        return PatchTask(
            indexes,
            partial(self._decode_all, [patches[index] for index in indexes]),
            split=lambda: [self._task(patches, [index]) for index in indexes],
        )

    def needs(self, patches: Sequence[Patch]) -> Needs:
        """Return the size of the encoded patches."""
        size = sum(len(self._encoded[patch]) * 3 // 4 for patch in set(patches))
        return Needs(None, size, "the size of the encoded patches")

    def reading(self) -> Reading:
        """Return what patches have been made of; see ``OpenedImage.reading``.

        The digest is that of the patches' own, in their order.
        """
        read = list(dict(sorted(self._read.items(), key=lambda item: (item[0].y, item[0].x))).values())
        syntaxes = {one.syntax for one in read if one.syntax is not None}
        decoders = {frame_decoder(syntax) for syntax in syntaxes}
        for one in read:
            decoders.update(() if one.syntax is not None else file_decoders(one.format))
        colours = {colour_reading(one.icc_profile, self._target, self._transforms) for one in read}
        reading = Reading(
            identity=ImageIdentity(
                "patches",
                ", ".join(sorted({one.format for one in read})),
                hashlib.sha256(b"".join(one.digest for one in read)).hexdigest(),
            ),
            sampling=self.sampling,
            resampling=Resampling.NONE,
            resizer=None,
            colour=colours.pop() if len(colours) == 1 else ColourReading(UNREAD, self._target),
            scaled_by_caller=False,
            require_inside=self._options.require_inside,
            decoders=tuple(sorted(decoders)),
            transfer_syntaxes=tuple(sorted(syntaxes)),
        )
        return _by_client(reading, self._normalised_to)

    def _decode_all(self, patches: Sequence[Patch]) -> list[UInt8Array]:
        return [self._decode(patch) for patch in patches]

    def _decode(self, patch: Patch) -> UInt8Array:
        """Decode one patch, then transform its colours."""
        with self._measure(ReadStage.DECODE):
            data, pixels = decode_base64(self._encoded[patch]), patch.width * patch.height
            file = RasterFile(data, pixels)
            if (file.width, file.height) != (patch.width, patch.height):
                raise bad_state(
                    f"one of its patches is an image of {file.width}x{file.height} pixels, not of "
                    f"{patch.width}x{patch.height}"
                )
            raster = self._decoders.image(file, data, pixels)
        if self._traced:
            self._read[patch] = _ReadPatch(
                hashlib.sha256(data).digest(), file.format, file.syntax, raster.icc_profile
            )
        with self._measure(ReadStage.COLOUR):
            transform = self._transforms.to_rgb(raster.icc_profile, self._target, raster.pixels.shape[2])
            return transform(raster.pixels)
