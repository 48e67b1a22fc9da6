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
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_io.codecs.frame_format import NATIVE
from dicom_io.codecs.jpeg_xl import SYNTAXES as JPEG_XL_SYNTAXES


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


_SYNTAXES: Mapping[str, Callable[[], str]] = {
    **dict.fromkeys(NATIVE, _numpy),
    **dict.fromkeys((JPEGBaseline8Bit, JPEGExtended12Bit), _simplejpeg),
    **dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless), lambda: _imagecodecs("jpegls")),
    **dict.fromkeys(
        (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K), lambda: _imagecodecs("jpeg2k")
    ),
    **dict.fromkeys(JPEG_XL_SYNTAXES, lambda: _imagecodecs("jpegxl")),
    RLELossless: lambda: _imagecodecs("packbits"),
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
    return _SYNTAXES[syntax]()


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
