"""From YCbCr as DICOM and JPEG store it to RGB."""

from __future__ import annotations

import cv2
import numpy as np

from dicom_io.geometry import UInt8Array


def ybr_full_to_rgb(pixels: UInt8Array) -> UInt8Array:
    """Convert full-range YCbCr to RGB (PS3.3, C.7.6.3.1.2), uint8 ``[h, w, 3]``.

    The constants are CCIR 601's; JPEG's own conversion is the same.
    """
    swapped = np.ascontiguousarray(pixels[:, :, (0, 2, 1)])  # OpenCV expects Y, Cr, Cb
    return np.asarray(cv2.cvtColor(swapped, cv2.COLOR_YCrCb2RGB), np.uint8)
