"""Which library decodes what, in which version: what a vector is made of includes it.

Two versions of a decoder may differ by a level of gray, which no error tells. Versions are those that
libraries and packages state of themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version

import cv2
import imagecodecs
from PIL import features

from dicom_io.codecs.frame import DECODERS, Decoder
from dicom_io.codecs.jp2 import decode_jpeg2000_frame
from dicom_io.codecs.jpeg import decode_jpeg_frame
from dicom_io.codecs.jpeg_ls import decode_jpeg_ls_frame
from dicom_io.codecs.jpeg_xl import decode_jxl_frame
from dicom_io.codecs.native import decode_native_frame
from dicom_io.codecs.rle import decode_rle_frame


def _simplejpeg() -> str:
    return f"libjpeg-turbo of simplejpeg {version('simplejpeg')}"


def _imagecodecs(codec: str) -> str:
    own: str = getattr(imagecodecs, f"{codec}_version")()
    return f"{own} of imagecodecs {version('imagecodecs')}"


def _pillow(feature: str | None = None) -> str:
    pillow = f"Pillow {version('pillow')}"
    return pillow if feature is None else f"{feature} {features.version(feature)} of {pillow}"


def _numpy() -> str:
    return f"NumPy {version('numpy')}"


_FRAMES: Mapping[Decoder, Callable[[], str]] = {
    decode_native_frame: _numpy,
    decode_jpeg_frame: _simplejpeg,
    decode_jpeg_ls_frame: lambda: _imagecodecs("jpegls"),
    decode_jpeg2000_frame: lambda: _imagecodecs("jpeg2k"),
    decode_jxl_frame: lambda: _imagecodecs("jpegxl"),
    decode_rle_frame: lambda: _imagecodecs("packbits"),
}

_FORMATS: Mapping[str, tuple[Callable[[], str], ...]] = {
    "JPEG": (_simplejpeg,),
    "PNG": (lambda: _imagecodecs("spng"), _pillow),  # Pillow where samples are no pixels
    "TIFF": (lambda: _pillow("libtiff"), _simplejpeg),  # that one where it holds JPEG
    "WebP": (lambda: _pillow("webp"),),
    "BMP": (_pillow,),
    "JPEG 2000": (lambda: _imagecodecs("jpeg2k"),),
    "JPEG XL": (lambda: _imagecodecs("jpegxl"),),
}


@cache
def frame_decoder(syntax: str) -> str:
    """Return the library that decodes frames of a transfer syntax, with its version."""
    return _FRAMES[DECODERS[syntax]]()


@cache
def file_decoders(kind: str) -> tuple[str, ...]:
    """Return the libraries, with their versions, that decode files of a format (``RasterFile.format``)."""
    return tuple(made() for made in _FORMATS[kind])


@cache
def colour_engine() -> str:
    """Return the library that transforms colours, with its version."""
    return _pillow("littlecms2")


@cache
def resizer() -> str:
    """Return the library that resizes images, with its version."""
    return f"OpenCV {cv2.__version__}"
