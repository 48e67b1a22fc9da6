"""DICOM files that are single images: decoded like any other encoded image."""

from __future__ import annotations

import io

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from dicom_io.codecs.encoded_image import DAMAGED_PROFILE, check_size
from dicom_io.codecs.frame import (
    DECODERS,
    DEFLATED_LE,
    IMPLICIT_LE,
    NATIVE,
    FrameError,
    FrameFormat,
    decode_frame,
    decodes_in_process,
)
from dicom_io.codecs.raster import Raster
from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.slides.requirements import PHOTOMETRIC

_PREAMBLE_BYTES = 132
_READS_AT_MOST = 50_000


def is_dicom_file(data: bytes) -> bool:
    """Return whether bytes start like a DICOM file (PS3.10, section 7.1)."""
    return data[128:132] == b"DICM"


class DicomFile:
    """A DICOM file whose header has been read and found acceptable.

    Attributes
    ----------
    width, height:
        Pixels.
    in_process:
        Whether decoding is safe and bounded enough for a process that also serves other requests.

    Raises
    ------
    ImageError
        IMAGE_ERROR when it is not a single 8-bit image that can be decoded; IMAGE_DIMENSION_ERROR when it
        is too large.
    """

    def __init__(self, data: bytes, max_pixels: int) -> None:
        try:
            self._syntax, self._dataset = _read(data)
            frames = int(self._dataset.get("NumberOfFrames") or 1)
            self._form = FrameFormat(
                int(self._dataset.Columns),
                int(self._dataset.Rows),
                int(self._dataset.SamplesPerPixel),
                str(self._dataset.PhotometricInterpretation),
                int(self._dataset.get("PlanarConfiguration") or 0),
            )
            bits = int(self._dataset.BitsAllocated)
            signed = int(self._dataset.get("PixelRepresentation") or 0)
        except ImageError:
            raise
        except Exception as error:  # pydicom raises anything at hostile bytes
            raise _unsupported("it is damaged or holds no image") from error
        if frames != 1:
            raise _unsupported(f"it has {frames} frames", Remedy.A_STORE)
        if (
            bits != 8
            or signed
            or self._form.photometric not in PHOTOMETRIC
            or self._form.samples not in (1, 3)
        ):
            raise _unsupported(
                f"it has {bits} bits, {self._form.samples} samples, {self._form.photometric}; "
                "8-bit gray or colour is required"
            )
        self.width, self.height = self._form.width, self._form.height
        check_size(self.width, self.height, max_pixels, self._form.samples)
        self._frame = self._pixels()
        del self._dataset.PixelData
        self.in_process = decodes_in_process(self._frame, self._syntax)

    def decode(self) -> Raster:
        """Decode the image.

        Raises
        ------
        ImageError
            IMAGE_ERROR when its pixels are cut off or damaged.
        """
        try:
            return Raster(decode_frame(self._frame, self._syntax, self._form), self._icc_profile())
        except FrameError as error:
            raise _unsupported(f"its pixels cannot be decoded: {error}") from error

    def _pixels(self) -> bytes:
        """Return the frame's bytes."""
        try:
            pixels: bytes = self._dataset.PixelData
            if self._syntax in NATIVE:
                return pixels
            return next(generate_frames(pixels, number_of_frames=1))
        except Exception as error:  # pydicom raises anything at hostile bytes
            raise _unsupported("its pixels are missing or damaged") from error

    def _icc_profile(self) -> bytes | None:
        try:
            paths = self._dataset.get("OpticalPathSequence") or []
            holder = paths[0] if paths and "ICCProfile" in paths[0] else self._dataset
            profile = holder.get("ICCProfile")
            return bytes(profile) if profile else None
        except Exception:  # pydicom raises anything at hostile bytes
            return DAMAGED_PROFILE


class _BoundedReads(io.BytesIO):
    """Bounds how many elements are read: millions of tiny ones would keep pydicom busy for very long."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, a bounded number of times."""
        self.reads += 1
        if self.reads > _READS_AT_MOST:
            raise ValueError("the DICOM file has too many elements")
        return super().read(size)


def _read(data: bytes) -> tuple[str, Dataset]:
    """Return the transfer syntax named by the file meta information, and the data set.

    Nothing is inflated: a deflated data set (PS3.5, A.5) is refused before it is read, since a few bytes of
    it could expand to any size.
    """
    file = _BoundedReads(data)
    file.seek(_PREAMBLE_BYTES)
    meta = read_dataset(file, False, True, stop_when=_after_meta)
    syntax = str(meta.TransferSyntaxUID)
    if syntax == DEFLATED_LE or syntax not in DECODERS:
        raise _unsupported(f"its transfer syntax {syntax} is not supported in a file")
    return syntax, read_dataset(file, syntax == IMPLICIT_LE, True)


def _after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2


def _unsupported(reason: str, remedy: Remedy | None = None) -> ImageError:
    return ImageError(ImageCode.IMAGE_ERROR, f"The DICOM file cannot be read: {reason}.", remedy)
