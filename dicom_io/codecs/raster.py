"""Image files to 8-bit pixels: PNG, JPEG, TIFF, WebP, BMP, JPEG 2000, JPEG XL, and DICOM.

A format's file has ``open_…``, which reads the header and returns an ``EncodedImage``; a new format is a row
of ``_FORMATS`` here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dicom_io.codecs.bmp import SIGNATURE as BMP_SIGNATURE
from dicom_io.codecs.bmp import open_bmp
from dicom_io.codecs.dicom_file import is_dicom_file, open_dicom
from dicom_io.codecs.encoded_image import DamagedImage, EncodedImage
from dicom_io.codecs.jp2 import SIGNATURE as JP2_SIGNATURE
from dicom_io.codecs.jp2 import open_jpeg2000
from dicom_io.codecs.jpeg import open_jpeg
from dicom_io.codecs.jpeg2000 import START as JPEG_2000_START
from dicom_io.codecs.jpeg_markers import SIGNATURE as JPEG_SIGNATURE
from dicom_io.codecs.jpeg_xl import open_jxl
from dicom_io.codecs.jpeg_xl_header import is_jxl
from dicom_io.codecs.png import SIGNATURE as PNG_SIGNATURE
from dicom_io.codecs.png import open_png
from dicom_io.codecs.tiff import SIGNATURES as TIFF_SIGNATURES
from dicom_io.codecs.tiff import open_tiff
from dicom_io.codecs.webp import is_webp, open_webp
from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import UInt8Array

_NAMES = "PNG, JPEG, TIFF, WebP, BMP, JPEG 2000 or JPEG XL"

_Opener = Callable[[bytes, int], EncodedImage]
"""Reads the header of an image file, and holds it to a most number of pixels.

Raises DamagedImage when it cannot be decoded correctly, ImageError when it is too large or not of 8 bits.
"""


def _starts(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(signatures)


_FORMATS: tuple[tuple[str, Callable[[bytes], bool], _Opener], ...] = (
    ("DICOM", is_dicom_file, open_dicom),  # first: before its signature there may be another file's header
    ("JPEG", _starts(JPEG_SIGNATURE), open_jpeg),
    ("PNG", _starts(PNG_SIGNATURE), open_png),
    ("TIFF", _starts(*TIFF_SIGNATURES), open_tiff),
    ("WebP", is_webp, open_webp),
    ("BMP", _starts(BMP_SIGNATURE), open_bmp),
    ("JPEG 2000", _starts(JP2_SIGNATURE, JPEG_2000_START), open_jpeg2000),
    ("JPEG XL", is_jxl, open_jxl),
)


@dataclass(frozen=True, slots=True)
class Raster:
    """A decoded image.

    Attributes
    ----------
    pixels:
        uint8 ``[height, width, channels]``; 1 channel is gray, 3 RGB, 4 CMYK (255 is full ink).
    icc_profile:
        The profile embedded in the image, for these channels; ``None`` where it has none, empty where it is
        incomplete or damaged.
    """

    pixels: UInt8Array
    icc_profile: bytes | None


class RasterFile:
    """An encoded image whose header has been read, in plain Python, and found acceptable.

    Parameters
    ----------
    data:
        The whole encoded image.
    max_pixels:
        Images with more pixels are refused, as are those that would take the memory of more pixels.

    Attributes
    ----------
    width, height:
        Pixels, as stored: no orientation is applied.
    in_process:
        Whether decoding is safe and bounded enough for a process that also serves other requests.
    format:
        What it is called.
    syntax:
        Transfer syntax of the image in a DICOM file; ``None`` of other formats.

    Raises
    ------
    ImageError
        IMAGE_ERROR when it is not of a supported format, or not of 8 bits per sample;
        IMAGE_DIMENSION_ERROR when it is too large.
    """

    def __init__(self, data: bytes, max_pixels: int) -> None:
        if not data:
            raise ImageError(ImageCode.IMAGE_ERROR, f"The image is empty; send a {_NAMES} image.")
        found = next(((name, open_) for name, starts, open_ in _FORMATS if starts(data)), None)
        if found is None:
            raise ImageError(
                ImageCode.IMAGE_ERROR,
                f"The bytes are not a readable image; send a complete {_NAMES} image.",
            )
        self.format, open_image = found
        try:
            self._image = open_image(data, max_pixels)
        except ImageError:
            raise
        except Exception as error:  # readers raise anything at hostile bytes
            raise self._unreadable(error) from error
        self.width, self.height = self._image.width, self._image.height
        self.in_process, self.syntax = self._image.in_process, self._image.syntax

    def decode(self, place: UInt8Array | None = None) -> Raster:
        """Decode the pixels; of an animation or a multi-page TIFF the first image.

        Parameters
        ----------
        place:
            A contiguous uint8 ``[height, width, 3]`` that becomes the raster's pixels where the format and
            its channels allow that; after an error it holds anything.

        Raises
        ------
        ImageError
            IMAGE_ERROR when the image is cut off or damaged.
        """
        try:
            if place is not None and self._image.decode_to is not None:
                return Raster(*self._image.decode_to(place))
            return Raster(*self._image.decode())
        except ImageError:
            raise
        except Exception as error:  # decoders, too
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> ImageError:
        reason = error if isinstance(error, DamagedImage) else "it is cut off or damaged"
        return ImageError(
            ImageCode.IMAGE_ERROR,
            f"The {self.format} image cannot be read: {reason}. Send it complete, or as a PNG image.",
        )
