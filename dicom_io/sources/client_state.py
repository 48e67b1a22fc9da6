"""What a client already knows of an image, and sends along: values of Google's ez-wsi-dicomweb.

For a slide it is metadata, which save asking the store; for another image it is pixels, which are used
instead of reading Cloud Storage. It comes from the caller and is believed only about the caller's own
pixels: no address in it is followed, and no SOP instance is read that the request does not name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pybase64

from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Patch
from dicom_io.slides.instance import SopInstance


@dataclass(frozen=True, slots=True)
class SlideState:
    """What a state says about the SOP instances that a request names.

    Attributes
    ----------
    instances:
        Those about which it says all that reading their pixels takes.
    knows_icc:
        Whether ``icc_profile`` says which profile the slide has; ``None`` is none.
    """

    instances: tuple[SopInstance, ...]
    knows_icc: bool
    icc_profile: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImageState:
    """Pixels that a client sends along: the whole image, or one image for each patch.

    Attributes
    ----------
    image, patches:
        Base64 of encoded images; exactly one of the two is given.
    size:
        (width, height) in pixels of the image that patches are cut from, after any resize.
    normalised_to:
        Colour space that the client has transformed the pixels to.
    """

    image: str | None = field(repr=False)
    patches: Mapping[Patch, str] = field(repr=False)
    size: tuple[int, int] | None
    normalised_to: IccTarget


def decode_base64(text: str) -> bytes:
    """Return the bytes of a base64 text in a state.

    Raises
    ------
    ImageError
        EZ_WSI_STATE_ERROR
    """
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError as error:
        raise bad_state("image bytes or an ICC profile are not valid base64") from error


def bad_state(what: str) -> ImageError:
    """Return EZ_WSI_STATE_ERROR for a state that is malformed or does not fit its request."""
    return ImageError(
        ImageCode.EZ_WSI_STATE_ERROR,
        f"What the client knows of the image cannot be used: {what}.",
    )
