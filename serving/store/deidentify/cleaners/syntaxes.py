"""Which cleaner is whose: by transfer syntax. What is not here cannot be taken in."""

from __future__ import annotations

from collections.abc import Mapping
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

from serving.store.deidentify.cleaners.jpeg import clean_jpeg, clean_jpeg_ls
from serving.store.deidentify.cleaners.jpeg2000 import clean_jpeg2000
from serving.store.deidentify.cleaners.jpeg_xl import clean_jpeg_xl
from serving.store.deidentify.cleaners.pieces import FrameCleaner
from serving.store.deidentify.cleaners.rle import clean_rle

NATIVE = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian})
"""Uncompressed frames, which are pixels and nothing else."""

_JPEG_XL = ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112")

CLEANERS: Mapping[str, FrameCleaner] = MappingProxyType({
    **dict.fromkeys((JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), clean_jpeg),
    **dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless), clean_jpeg_ls),
    **dict.fromkeys((JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K), clean_jpeg2000),
    **dict.fromkeys(_JPEG_XL, clean_jpeg_xl),
    RLELossless: clean_rle,
})  # fmt: skip
"""By transfer syntax."""
