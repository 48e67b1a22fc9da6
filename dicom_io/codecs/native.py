"""Uncompressed frames (PS3.5, 8.1 and 8.2)."""

from __future__ import annotations

import numpy as np

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.frame_format import FrameFormat, is_native_size
from dicom_io.codecs.samples import ybr_full_to_rgb
from dicom_io.geometry import UInt8Array


def decode_native_frame(data: bytes, form: FrameFormat) -> UInt8Array:
    """Return a view of the bytes as uint8 ``[height, width, samples]``; YCbCr is converted to RGB."""
    if not is_native_size(data, form):
        raise DamagedImage(f"it has {len(data)} bytes, {form.native_bytes} are needed")
    flat = np.frombuffer(data, np.uint8, form.native_bytes)
    if form.is_422:
        return ybr_full_to_rgb(_from_422(flat, form))
    if form.samples == 3 and form.planar == 1:
        pixels = flat.reshape(3, form.height, form.width).transpose(1, 2, 0)
    else:
        pixels = flat.reshape(form.height, form.width, form.samples)
    return ybr_full_to_rgb(pixels) if form.is_ybr else pixels


def _from_422(flat: UInt8Array, form: FrameFormat) -> UInt8Array:
    """Expand Y1 Y2 Cb Cr for each pair of pixels (PS3.3, C.7.6.3.1.2)."""
    pairs = flat.reshape(form.height, form.width // 2, 4)
    out = np.empty((form.height, form.width // 2, 2, 3), np.uint8)
    out[..., 0] = pairs[..., :2]
    out[..., 1:] = pairs[:, :, np.newaxis, 2:]
    return out.reshape(form.height, form.width, 3)
