"""DICOM files that are single images: decoded like any other encoded image."""

from __future__ import annotations

import io

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_io.codecs.encoded_image import DAMAGED_PROFILE, EncodedImage, check_size
from dicom_io.codecs.frame import DECODERS, decode_frame, decodes_in_process
from dicom_io.codecs.frame_format import NATIVE, PHOTOMETRIC, FrameError, FrameFormat
from dicom_io.errors import ImageCode, ImageError, Remedy
from dicom_io.geometry import UInt8Array

PREAMBLE_BYTES = 132
"""Before the file meta information: the preamble and ``DICM`` (PS3.10, 7.1)."""

_READS_AT_MOST = 50_000


def is_dicom_file(data: bytes) -> bool:
    """Return whether bytes start like a DICOM file (PS3.10, section 7.1)."""
    return data[128:132] == b"DICM"


def open_dicom(data: bytes, max_pixels: int) -> EncodedImage:
    """Read the data set of a DICOM file that is a single image."""
    try:
        syntax, dataset = _read(data)
        form = _checked_form(dataset)
    except ImageError:
        raise
    except Exception as error:  # pydicom raises anything at hostile bytes
        raise _unsupported("it is damaged or holds no image") from error
    check_size(form.width, form.height, max_pixels, form.samples)
    frame = _frame(dataset, syntax)
    del dataset.PixelData  # the closure keeps the rest, for the profile

    def decode() -> tuple[UInt8Array, bytes | None]:
        try:
            return decode_frame(frame, syntax, form), _icc_profile(dataset)
        except FrameError as error:
            raise _unsupported(f"its pixels cannot be decoded: {error}") from error

    return EncodedImage(form.width, form.height, decodes_in_process(frame, syntax), decode, syntax=syntax)


def _checked_form(dataset: Dataset) -> FrameFormat:
    form = FrameFormat(
        int(dataset.Columns),
        int(dataset.Rows),
        int(dataset.SamplesPerPixel),
        str(dataset.PhotometricInterpretation),
        int(dataset.get("PlanarConfiguration") or 0),
    )
    bits = int(dataset.BitsAllocated)
    signed = int(dataset.get("PixelRepresentation") or 0)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise _unsupported(f"it has {frames} frames", Remedy.A_STORE)
    if bits != 8 or signed or form.photometric not in PHOTOMETRIC or form.samples not in (1, 3):
        raise _unsupported(
            f"it has {bits} bits, {form.samples} samples, {form.photometric}; "
            "8-bit gray or colour is required"
        )
    return form


def _frame(dataset: Dataset, syntax: str) -> bytes:
    try:
        pixels: bytes = dataset.PixelData
        return pixels if syntax in NATIVE else next(generate_frames(pixels, number_of_frames=1))
    except Exception as error:  # pydicom raises anything at hostile bytes
        raise _unsupported("its pixels are missing or damaged") from error


def _icc_profile(dataset: Dataset) -> bytes | None:
    try:
        paths = dataset.get("OpticalPathSequence") or []
        holder = paths[0] if paths and "ICCProfile" in paths[0] else dataset
        profile = holder.get("ICCProfile")
        return bytes(profile) if profile else None
    except Exception:  # pydicom raises anything at hostile bytes
        return DAMAGED_PROFILE


class _CountedReads(io.BytesIO):
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
    file = _CountedReads(data)
    file.seek(PREAMBLE_BYTES)
    meta = read_dataset(file, False, True, stop_when=after_meta)
    syntax = str(meta.TransferSyntaxUID)
    if syntax == DeflatedExplicitVRLittleEndian or syntax not in DECODERS:
        raise _unsupported(f"its transfer syntax {syntax} is not supported in a file")
    return syntax, read_dataset(file, syntax == ImplicitVRLittleEndian, True)


def after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    """Return whether the file meta information ends before an element; for ``read_dataset``."""
    return tag.group != 2


def _unsupported(reason: str, remedy: Remedy | None = None) -> ImageError:
    return ImageError(ImageCode.IMAGE_ERROR, f"The DICOM file cannot be read: {reason}.", remedy)
