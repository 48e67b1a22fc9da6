"""Real tissue: the immunohistochemistry image of scikit-image's wheel, in any size and encoding."""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data

UInt8Array = npt.NDArray[np.uint8]


@cache
def tissue(width: int = 512, height: int = 512) -> UInt8Array:
    """Return real tissue as uint8 RGB ``[height, width, 3]``, mirrored to the size asked for."""
    tile = np.asarray(data.immunohistochemistry(), np.uint8)
    tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    rows, columns = -(-height // tile.shape[0]), -(-width // tile.shape[1])
    image = np.ascontiguousarray(np.tile(tile, (rows, columns, 1))[:height, :width])
    image.flags.writeable = False
    return image


def encode(pixels: UInt8Array | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return an image encoded by Pillow; JPEG XL by imagecodecs, with its options."""
    if kind == "JXL":
        return bytes(imagecodecs.jpegxl_encode(np.asarray(pixels), **options))
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def base64_text(data: bytes) -> str:
    """Return bytes as the API's base64."""
    return base64.b64encode(data).decode("ascii")


def instance(
    data: bytes | str, *origins: tuple[float, float], extensions: dict[str, object] | None = None
) -> dict[str, object]:
    """Return a request's instance: an encoded image and the origins of its patches."""
    item: dict[str, object] = {
        "raw_image_bytes": data if isinstance(data, str) else base64_text(data),
        "patch_coordinates": [
            {"x_origin": x, "y_origin": y, "width": 224, "height": 224} for x, y in (origins or [(0, 0)])
        ],
    }
    if extensions is not None:
        item["extensions"] = extensions
    return item
