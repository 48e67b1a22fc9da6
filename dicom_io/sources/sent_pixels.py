"""Images whose pixels Google's client library has sent along as values of its state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from dicom_io.codecs.raster import RasterFile
from dicom_io.colour.profiles import IccTarget
from dicom_io.geometry import Patch, Sampling, UInt8Array
from dicom_io.reading import (
    SLOW_PATCHES_AT_ONCE,
    Needs,
    OpenedImage,
    PatchTask,
    ReadOptions,
    ReadStage,
    in_chunks,
)
from dicom_io.sources.client_state import ImageState, bad_state, decode_base64
from dicom_io.sources.encoded import EncodedSource
from dicom_io.sources.session import ReadSession
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
        text = state.image
        image = EncodedSource(lambda: decode_base64(text)).open(options, session)
        if state.size not in (None, image.source_size, (image.width, image.height)):
            raise bad_state(f"its image is not of {state.size[0]}x{state.size[1]} pixels")
        return image


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
        self._encoded: Mapping[Patch, str] = state.patches
        self._target = options.icc_target
        self._transforms, self._measure = session.context.transforms, session.measure
        self._decoders = session.context.decoders
        self.memory_bytes = 4 * _DECODED_AT_ONCE * max(p.width * p.height for p in state.patches)

    def read(self, patches: Sequence[Patch]) -> Iterator[PatchTask]:
        """Return tasks in the order of the patches."""
        for indexes in in_chunks(range(len(patches)), SLOW_PATCHES_AT_ONCE):
            yield PatchTask(indexes, partial(self._decode_all, [patches[index] for index in indexes]))

    def needs(self, patches: Sequence[Patch]) -> Needs:
        """Return the size of the encoded patches."""
        size = sum(len(self._encoded[patch]) * 3 // 4 for patch in set(patches))
        return Needs(None, size, "the size of the encoded patches")

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
        with self._measure(ReadStage.COLOUR):
            transform = self._transforms.to_rgb(raster.icc_profile, self._target, raster.pixels.shape[2])
            return transform(raster.pixels)
