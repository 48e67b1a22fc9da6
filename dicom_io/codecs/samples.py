"""Decoded samples: steps that several codecs take after their decoder has returned."""

from __future__ import annotations

import cv2
import numpy as np

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.geometry import UInt8Array


def require_shape(pixels: UInt8Array, *shape: int) -> UInt8Array:
    """Return a decoder's pixels if they have the shape that the header promised.

    Memory and patches were planned by the header, which a decoder reads for itself and may understand
    differently.

    Raises
    ------
    DamagedImage
        When their shape or type is another one.
    """
    if pixels.dtype != np.uint8 or pixels.shape != shape:
        raise DamagedImage("it decodes to a different size or depth than its header declares")
    return pixels


def scaled_to_8_bits(pixels: UInt8Array, bits: int) -> UInt8Array:
    """Spread samples of 1 to 8 bits over 0 to 255, as decoders leave them at their own depth."""
    if bits == 8:
        return pixels
    table = np.rint(np.arange(256) * (255 / (2**bits - 1))).clip(0, 255).astype(np.uint8)
    return np.asarray(table[pixels])


def ybr_full_to_rgb(pixels: UInt8Array) -> UInt8Array:
    """Convert full-range YCbCr to RGB (PS3.3, C.7.6.3.1.2), uint8 ``[h, w, 3]``.

    The constants are CCIR 601's; JPEG's own conversion is the same.
    """
    swapped = np.ascontiguousarray(pixels[:, :, (0, 2, 1)])  # OpenCV expects Y, Cr, Cb
    return np.asarray(cv2.cvtColor(swapped, cv2.COLOR_YCrCb2RGB), np.uint8)
