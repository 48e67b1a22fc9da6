"""What every reader of an image format gives, and the limits that all of them are held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import UInt8Array

DAMAGED_PROFILE = b""
"""Stands for an ICC profile that is in the image, but incomplete or damaged."""

MAX_PROFILE_BYTES = 16_000_000
"""Bytes of an unfolded ICC profile; the largest printer profiles have a few million."""

_SAMPLES_A_PIXEL = 4
"""Samples a pixel that the limit of pixels is meant for: red, green, blue and one more."""


class DamagedImage(ValueError):
    """An image that cannot be decoded rightly; the text says why, in half a sentence."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An encoded image whose header has been read and found acceptable.

    Attributes
    ----------
    width, height:
        Pixels, as stored: orientations of EXIF and TIFF are not applied.
    in_process:
        Whether decoding is safe and bounded enough for a process that serves others, too.
    decode:
        Returns uint8 ``[height, width, 1 | 3 | 4]`` and the ICC profile, ``DAMAGED_PROFILE`` or ``None``.
    """

    width: int
    height: int
    in_process: bool
    decode: Callable[[], tuple[UInt8Array, bytes | None]]


def check_size(width: int, height: int, max_pixels: int, samples: int = 1) -> None:
    """Hold what a decoder would allocate to the limit, before it does.

    Parameters
    ----------
    samples:
        Samples a pixel, colours and others together.

    Raises
    ------
    ImageError
        IMAGE_DIMENSION_ERROR for an image that is empty, or of more pixels or samples than allowed.
    """
    if width < 1 or height < 1 or width * height > max_pixels:
        raise ImageError(
            ImageCode.IMAGE_DIMENSION_ERROR,
            f"The image of {width}x{height} pixels is beyond this service's limit of "
            f"{max_pixels} pixels. Send a smaller region.",
        )
    if width * height * samples > _SAMPLES_A_PIXEL * max_pixels:
        raise ImageError(
            ImageCode.IMAGE_DIMENSION_ERROR,
            f"The image of {width}x{height} pixels with {samples} samples each is beyond this service's "
            f"limit of {max_pixels} pixels. Send a smaller region, or colours only.",
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
