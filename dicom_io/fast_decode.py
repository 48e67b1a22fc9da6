"""Faster decoders for the images that are sent most: the same pixels as Pillow's, or nothing.

Only what these decoders are known to treat as Pillow does is given to them; whatever they do not like,
Pillow judges. libjpeg-turbo by simplejpeg, libspng by imagecodecs.
"""

from __future__ import annotations

import imagecodecs
import numpy as np
import simplejpeg
from PIL import Image

from dicom_io.patches import UInt8Array

_JPEG_COLOURS = {"RGB": "RGB", "L": "GRAY"}
_PNG_MODES = frozenset({"RGB", "RGBA", "L"})


def decode_fast(image: Image.Image, data: bytes) -> UInt8Array | None:
    """Return uint8 ``[height, width, 1 | 3]``, or ``None`` where Pillow is to decode.

    Parameters
    ----------
    image:
        The opened image, its pixels not loaded.
    data:
        All of its bytes.
    """
    try:
        pixels = _decode(image, data)
    except Exception:  # decoders raise anything at hostile bytes; Pillow says what is wrong with them
        return None
    expected = (image.height, image.width, 1 if image.mode == "L" else 3)
    return pixels if pixels is not None and pixels.shape == expected else None


def _decode(image: Image.Image, data: bytes) -> UInt8Array | None:
    if image.format == "JPEG" and image.mode in _JPEG_COLOURS:
        # strict: what libjpeg only warns of, a cut-off scan above all, is an error.
        decoded: UInt8Array = simplejpeg.decode_jpeg(
            data, _JPEG_COLOURS[image.mode], fastdct=False, fastupsample=False, strict=True
        )
        return decoded
    eight_bits = data[24:25] == b"\x08"  # IHDR (PNG specification, 11.2.2)
    if image.format == "PNG" and image.mode in _PNG_MODES and eight_bits and "transparency" not in image.info:
        pixels: UInt8Array = imagecodecs.spng_decode(data)
        return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels[:, :, :3]
    return None
