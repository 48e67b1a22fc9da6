"""DICOM files that are single images: decoded like any other encoded image."""

from __future__ import annotations

import io

import pydicom
from pydicom.encaps import generate_frames

from dicom_io.frames import DECODERS, DEFLATED_LE, NATIVE, FrameError, FrameFormat, decode_frame
from dicom_io.raster import Raster, check_size
from dicom_io.validation import PHOTOMETRIC
from serving.errors import Code, ServiceError

_TRANSFER_SYNTAX_UID = b"\x02\x00\x10\x00UI"
_META_AT_MOST = 4096


def is_dicom_file(data: bytes) -> bool:
    """Say whether bytes begin as a DICOM file does (PS3.10, section 7.1)."""
    return data[128:132] == b"DICM"


class DicomFile:
    """A DICOM file whose header has been read and found acceptable.

    Raises
    ------
    ServiceError
        IMAGE_ERROR when it is no single 8-bit image that can be decoded; IMAGE_DIMENSION_ERROR when it
        is too large.
    """

    def __init__(self, data: bytes, max_pixels: int) -> None:
        try:
            self._syntax = _transfer_syntax(data)
            if self._syntax == DEFLATED_LE or self._syntax not in DECODERS:
                raise _unsupported(f"its transfer syntax {self._syntax} is not supported in a file")
            self._dataset = pydicom.dcmread(io.BytesIO(data))
            frames = int(self._dataset.get("NumberOfFrames") or 1)
            self._form = FrameFormat(
                int(self._dataset.Columns),
                int(self._dataset.Rows),
                int(self._dataset.SamplesPerPixel),
                str(self._dataset.PhotometricInterpretation),
                int(self._dataset.get("PlanarConfiguration") or 0),
            )
            bits = int(self._dataset.BitsAllocated)
        except ServiceError:
            raise
        except Exception as error:  # pydicom raises anything at hostile bytes
            raise _unsupported("it is damaged or holds no image") from error
        if frames != 1:
            raise _unsupported(f"it has {frames} frames; put it into a DICOM store and name it by dicom_path")
        if bits != 8 or self._form.photometric not in PHOTOMETRIC or self._form.samples not in (1, 3):
            raise _unsupported(
                f"it has {bits} bits, {self._form.samples} samples, {self._form.photometric}; "
                "8-bit gray or colour is needed"
            )
        self.width, self.height = self._form.width, self._form.height
        check_size(self.width, self.height, max_pixels)
        self.in_process = self._syntax in NATIVE

    def decode(self) -> Raster:
        """Decode the image.

        Raises
        ------
        ServiceError
            IMAGE_ERROR when its pixels are cut off or damaged.
        """
        try:
            pixels: bytes = self._dataset.PixelData
            if self._syntax not in NATIVE:
                pixels = next(generate_frames(pixels, number_of_frames=1))
            return Raster(decode_frame(pixels, self._syntax, self._form), self._icc_profile())
        except FrameError as error:
            raise _unsupported(f"its pixels cannot be decoded: {error}") from error
        except Exception as error:
            raise _unsupported("its pixels are missing or damaged") from error

    def _icc_profile(self) -> bytes | None:
        paths = self._dataset.get("OpticalPathSequence") or []
        holder = paths[0] if paths and "ICCProfile" in paths[0] else self._dataset
        profile = holder.get("ICCProfile")
        return bytes(profile) if profile else None


def _transfer_syntax(data: bytes) -> str:
    """Return the transfer syntax (0002,0010) before anything is inflated (PS3.10, section 7.1)."""
    at = data.find(_TRANSFER_SYNTAX_UID, 132, 132 + _META_AT_MOST)
    length = int.from_bytes(data[at + 6 : at + 8], "little")
    return data[at + 8 : at + 8 + length].rstrip(b"\0 ").decode("ascii") if at > 0 else "unknown"


def _unsupported(reason: str) -> ServiceError:
    return ServiceError(Code.IMAGE_ERROR, f"The DICOM file cannot be read: {reason}.")
