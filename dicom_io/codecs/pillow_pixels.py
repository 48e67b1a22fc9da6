"""Pixels of an image that Pillow reads.

A plugin's class is called directly, never ``Image.open``: that would try every format that Pillow knows on
hostile bytes, and some of its readers start programs.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile

from dicom_io.codecs.encoded_image import DamagedImage, check_depth
from dicom_io.geometry import UInt8Array

# Pillow's own limit is the same for everybody; callers check theirs before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None


def pillow_pixels(
    plugin: Callable[[io.BytesIO], ImageFile.ImageFile], data: bytes, width: int, height: int
) -> UInt8Array:
    """Decode an image; alpha is dropped, not blended.

    Parameters
    ----------
    plugin:
        Pillow's class for the format.
    width, height:
        What its header said when it was held to the limits.

    Returns
    -------
    uint8 ``[height, width, 1 | 3 | 4]``: gray, RGB, or CMYK with 255 as full ink.

    Raises
    ------
    DamagedImage, ImageError
        When it is damaged, or its pixels are of an unsupported kind.
    """
    try:
        image = plugin(io.BytesIO(data))
    except Exception as error:  # Pillow raises anything at hostile bytes
        raise DamagedImage("it is damaged or of an unsupported kind") from error
    with image:
        if image.size != (width, height):
            raise DamagedImage("it decodes to a different size than its header declares")
        return _loaded(image)


def _loaded(image: Image.Image) -> UInt8Array:
    try:
        image.load()
    except Exception as error:  # Pillow raises anything at hostile bytes
        raise DamagedImage("it is cut off or damaged") from error
    mode = image.mode
    if mode.startswith(("I", "F")):
        check_depth(16)
    if mode == "CMYK":
        return np.asarray(image)
    if mode in ("1", "L"):
        return np.asarray(image.convert("L"))[:, :, np.newaxis]
    if mode in ("LA", "La"):
        return np.asarray(image.convert("LA"))[:, :, :1]
    if mode in ("RGBA", "RGBa"):
        return np.asarray(image.convert("RGBA"))[:, :, :3]
    if mode in ("RGB", "RGBX", "P", "PA", "YCbCr"):
        return np.asarray(image.convert("RGB"))
    raise DamagedImage(f"images of mode {mode} are not supported; send 8-bit gray, RGB, palette or CMYK")
