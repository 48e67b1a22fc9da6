"""Ordinary images (PNG, JPEG, TIFF, WebP, BMP, JPEG 2000, JPEG XL) to 8-bit pixels."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
import pillow_jxl  # noqa: F401  (registers the JPEG XL reader with Pillow)
from PIL import Image

from dicom_io.fast_decode import decode_fast
from dicom_io.jxl_header import is_jxl, read_jxl_header
from dicom_io.patches import UInt8Array
from serving.errors import Code, ServiceError

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "JPEG2000", "JXL")
"""Pillow's names of the formats that are read."""

_NAMES = "PNG, JPEG, TIFF, WebP, BMP, JPEG 2000 or JPEG XL"
_TIFF_BITS_PER_SAMPLE, _TIFF_SAMPLE_FORMAT = 258, 339

# The limit is the caller's (PATHSERVE_MAX_IMAGE_PIXELS), checked before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None
Image.init()  # Image.open(formats=…) finds only the readers that are registered


@dataclass(frozen=True, slots=True)
class Raster:
    """A decoded image.

    Attributes
    ----------
    pixels:
        uint8 ``[height, width, channels]``; 1 channel is gray, 3 RGB, 4 CMYK (255 is full ink).
    icc_profile:
        The profile embedded in the image, for these channels; ``None`` where it has none.
    """

    pixels: UInt8Array
    icc_profile: bytes | None


class RasterFile:
    """An encoded image whose header has been read and found acceptable.

    Parameters
    ----------
    data:
        The whole encoded image.
    max_pixels:
        Images of more pixels are refused.

    Raises
    ------
    ServiceError
        IMAGE_ERROR when it is no image of the supported formats, or not of 8 bits a sample;
        IMAGE_DIMENSION_ERROR when it is too large.
    """

    def __init__(self, data: bytes, max_pixels: int) -> None:
        if not data:
            raise ServiceError(Code.IMAGE_ERROR, f"The image is empty; send a {_NAMES} image.")
        if is_jxl(data):
            _check_jxl(data, max_pixels)
        try:
            self._image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Exception as error:  # readers raise anything at hostile bytes
            raise ServiceError(
                Code.IMAGE_ERROR,
                f"The bytes are no readable image; send a complete {_NAMES} image.",
            ) from error
        self.width, self.height = self._image.size
        check_size(self.width, self.height, max_pixels)
        _check_depth(self._image, data)
        self._data = data
        self.in_process = self._image.format in ("PNG", "JPEG")

    def decode(self) -> Raster:
        """Decode the pixels; of an animation or a multi-page TIFF the first image.

        Raises
        ------
        ServiceError
            IMAGE_ERROR when the image is cut off or damaged.
        """
        try:
            with self._image as image:
                pixels = decode_fast(image, self._data)
                if pixels is None:
                    image.load()
                    pixels = _channels(image)
                return Raster(pixels, _icc_profile(image, self._data))
        except ServiceError:
            raise
        except Exception as error:  # decoders raise anything at hostile bytes
            raise ServiceError(
                Code.IMAGE_ERROR,
                f"The {self._image.format} image is cut off or damaged; send it again, complete.",
            ) from error


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise IMAGE_DIMENSION_ERROR for an image that is empty or of more pixels than allowed."""
    if width < 1 or height < 1 or width * height > max_pixels:
        raise ServiceError(
            Code.IMAGE_DIMENSION_ERROR,
            f"The image of {width}x{height} pixels is beyond this service's limit of "
            f"{max_pixels} pixels. Send a smaller region.",
        )


def _check_jxl(data: bytes, max_pixels: int) -> None:
    try:
        header = read_jxl_header(data)
    except (ValueError, struct.error) as error:
        raise ServiceError(Code.IMAGE_ERROR, f"Unreadable JPEG XL image: {error}.") from error
    check_size(header.width, header.height, max_pixels)
    if header.is_float or header.bits_per_sample > 8:
        raise _too_deep(header.bits_per_sample)


def _check_depth(image: Image.Image, data: bytes) -> None:
    """Refuse what Pillow would reduce to 8 bits without a word."""
    depth = 8
    if image.format == "PNG":
        depth = data[24]  # IHDR (PNG specification, 11.2.2)
    elif image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        depth = max(np.atleast_1d(tags.get(_TIFF_BITS_PER_SAMPLE, 1)).tolist())
        if np.any(np.atleast_1d(tags.get(_TIFF_SAMPLE_FORMAT, 1)) != 1):
            raise _too_deep(depth)
    elif image.format == "JPEG2000":
        depth = _jpeg2000_depth(data)
    if depth > 8 or image.mode.startswith(("I", "F")):
        raise _too_deep(max(depth, 16))


def _too_deep(bits: int) -> ServiceError:
    return ServiceError(
        Code.IMAGE_ERROR,
        f"The image has {bits}-bit, signed or floating-point samples; only unsigned 8-bit images are "
        "supported (16-bit and float are not). Convert it to 8 bits first.",
    )


def _jpeg2000_depth(data: bytes) -> int:
    """Return the deepest component's bits (ITU-T T.800, A.5.1); signed ones count as 16."""
    start = data.find(b"\xff\x4f\xff\x51")
    try:
        (components,) = struct.unpack_from(">H", data, start + 40)
        sizes = [data[start + 42 + 3 * i] for i in range(components)]
    except (struct.error, IndexError) as error:
        raise ServiceError(Code.IMAGE_ERROR, "The JPEG 2000 header is cut off.") from error
    return max((16 if size & 0x80 else size + 1 for size in sizes), default=16)


def _channels(image: Image.Image) -> UInt8Array:
    """Return uint8 ``[h, w, 1 | 3 | 4]``; alpha is dropped, not blended."""
    mode = image.mode
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
    raise ServiceError(
        Code.IMAGE_ERROR,
        f"Images of mode {mode} are not supported; send 8-bit gray, RGB, palette or CMYK.",
    )


def _icc_profile(image: Image.Image, data: bytes) -> bytes | None:
    profile = image.info.get("icc_profile")
    if not profile and image.format == "JPEG2000":
        profile = _jpeg2000_icc_profile(data)
    return bytes(profile) if profile else None


def _jpeg2000_icc_profile(data: bytes) -> bytes | None:
    """Return the profile of a JP2 file's colour specification box (ITU-T T.800, I.5.3.3)."""
    position = data[: data.find(b"\xff\x4f\xff\x51")].find(b"colr")
    if position < 4:
        return None
    (size,) = struct.unpack_from(">I", data, position - 4)
    body = data[position + 4 : position - 4 + size]
    return body[3:] if body[:1] in (b"\x02", b"\x03") else None
