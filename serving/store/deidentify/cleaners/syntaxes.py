"""Which cleaner is whose: by transfer syntax. What is not here cannot be taken in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from serving.store.deidentify.cleaners.jpeg import jpeg_cleaner, jpeg_ls_cleaner
from serving.store.deidentify.cleaners.jpeg2000 import clean_jpeg2000
from serving.store.deidentify.cleaners.jpeg_xl import clean_jpeg_xl
from serving.store.deidentify.cleaners.pieces import FrameCleaner
from serving.store.deidentify.cleaners.rle import clean_rle

NATIVE = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian})
"""Uncompressed frames, which are pixels and nothing else."""

_JPEG_XL = ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112")

CLEANERS: Mapping[str, Callable[[], FrameCleaner]] = MappingProxyType({
    **dict.fromkeys((JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), jpeg_cleaner),
    **dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless), jpeg_ls_cleaner),
    **dict.fromkeys((JPEG2000Lossless, JPEG2000), lambda: clean_jpeg2000),
    **dict.fromkeys((HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K), lambda: clean_jpeg2000),
    **dict.fromkeys(_JPEG_XL, lambda: clean_jpeg_xl),
    RLELossless: lambda: clean_rle,
})  # fmt: skip
"""What makes the cleaner of an image's frames, by transfer syntax."""
