"""The image that the demo and the curl line embed: real tissue, from scikit-image's wheel."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data

UInt8Array = npt.NDArray[np.uint8]


def tissue() -> UInt8Array:
    """Return an immunohistochemistry image, uint8 RGB ``[512, 512, 3]``."""
    return np.asarray(data.immunohistochemistry(), np.uint8)


def encode(pixels: UInt8Array, kind: str) -> bytes:
    """Return the pixels as a PNG or JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()
