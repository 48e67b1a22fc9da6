"""The result of every reader of an image format, and the limits that apply to all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import UInt8Array

DAMAGED_PROFILE = b""
"""Stands for an ICC profile that is present but incomplete or damaged.

It must not look like a missing profile: pixels of an unknown colour space would then pass as transformed.
"""

MAX_PROFILE_BYTES = 16_000_000
"""Bytes of a decompressed ICC profile; the largest printer profiles have a few million."""

_SAMPLES_A_PIXEL = 4
"""Samples per pixel that the pixel limit allows for: red, green, blue and one more."""


class DamagedImage(ValueError):
    """An image that cannot be decoded correctly; the text is the reason, as a clause ("it is cut off")."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An encoded image whose header has been read and found acceptable.

    Attributes
    ----------
    width, height:
        Pixels, as stored: the orientation in EXIF or TIFF tags is not applied.
    in_process:
        Whether decoding is safe and bounded enough for a process that also serves other requests.
    decode:
        Returns uint8 ``[height, width, 1 | 3 | 4]`` and the ICC profile, ``DAMAGED_PROFILE`` or ``None``.
    decode_to:
        Does the same, and writes the pixels to a contiguous uint8 ``[height, width, 3]``, which is returned;
        ``None`` where the decoder cannot, or the image is not RGB.
    syntax:
        Transfer syntax of the image in a DICOM file.
    """

    width: int
    height: int
    in_process: bool
    decode: Callable[[], tuple[UInt8Array, bytes | None]]
    decode_to: Callable[[UInt8Array], tuple[UInt8Array, bytes | None]] | None = None
    syntax: str | None = None


def check_size(width: int, height: int, max_pixels: int, samples: int = 1) -> None:
    """Check an allocation against the limit before a decoder makes it.

    Parameters
    ----------
    samples:
        Samples per pixel, colours and extra channels together.

    Raises
    ------
    ImageError
        IMAGE_DIMENSION_ERROR for an image that is empty or has more pixels or samples than allowed.
    """
    if width < 1 or height < 1 or width * height > max_pixels:
        raise ImageError(
            ImageCode.IMAGE_DIMENSION_ERROR,
            f"The image of {width}x{height} pixels exceeds this service's limit of "
            f"{max_pixels} pixels. Send a smaller region.",
        )
    if width * height * samples > _SAMPLES_A_PIXEL * max_pixels:
        raise ImageError(
            ImageCode.IMAGE_DIMENSION_ERROR,
            f"The image of {width}x{height} pixels with {samples} samples each exceeds this service's "
            f"limit of {max_pixels} pixels. Send a smaller region, or one without extra channels.",
        )


def check_depth(bits: int, *, plain: bool = True) -> None:
    """Refuse samples that would have to be reduced to 8 bits.

    Parameters
    ----------
    plain:
        Whether the samples are unsigned integers.

    Raises
    ------
    ImageError
        IMAGE_ERROR with what to do.
    """
    if bits > 8 or not plain:
        raise ImageError(
            ImageCode.IMAGE_ERROR,
            f"The image has {bits}-bit, signed or floating-point samples; only unsigned 8-bit images are "
            "supported (16-bit and float are not). Convert it to 8 bits first.",
        )
