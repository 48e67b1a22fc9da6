"""BMP to pixels, by Pillow."""

from __future__ import annotations

import io

from PIL import BmpImagePlugin

from dicom_io.codecs.encoded_image import DamagedImage, EncodedImage, check_size
from dicom_io.codecs.pillow_pixels import pillow_pixels
from dicom_io.geometry import UInt8Array

SIGNATURE = b"BM"


def open_bmp(data: bytes, max_pixels: int) -> EncodedImage:
    """Read the header of a BMP image. Pillow's reader of it is plain Python."""
    try:
        image = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
    except Exception as error:  # Pillow raises anything at hostile bytes
        raise DamagedImage("its header is damaged or of an unsupported kind") from error
    width, height = image.size
    check_size(width, height, max_pixels)

    def decode() -> tuple[UInt8Array, bytes | None]:
        return pillow_pixels(BmpImagePlugin.BmpImageFile, data, width, height), None

    # Pillow expands run lengths in plain Python, slowly and under the GIL: that is left to a helper.
    in_process = image.info.get("compression") == image.COMPRESSIONS["RAW"]
    return EncodedImage(width, height, in_process, decode)
