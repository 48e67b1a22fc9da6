"""What patches have been made of: which image, at which size, by which decoder, in which colours.

Values only. Who has read an image says so (``OpenedImage.reading``); nothing here looks at pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from dicom_io.colour.profiles import IccTarget, without_padding
from dicom_io.colour.transforms import ColourTransforms
from dicom_io.geometry import Sampling
from dicom_io.resampling import Resampling

UNREAD = "unread"
"""Stands for the digest of a colour profile that could not be read, or was not known to whoever read."""

INTENT = "perceptual"
"""With what rendering intent colours are transformed."""


@dataclass(frozen=True, slots=True)
class ImageIdentity:
    """Which image it is that was read.

    Attributes
    ----------
    kind:
        ``level`` of a slide, ``image`` for an encoded one, ``patches`` that came each by itself, or ``tiles``
        of a viewer's server.
    format:
        DICOM, an image file's format, or OpenSlide's name of a slide's.
    digest:
        SHA-256 in hexadecimal: of an image's bytes, or of a slide's files as ``SlideFacts.digest`` has it;
        ``None`` where nobody has all of them.
    study_uid, series_uid, sop_uids:
        Of a DICOM image.
    level:
        Index of the level in its slide, where that is known.
    name:
        What its server calls it, of one that has no UIDs.
    """

    kind: str
    format: str
    digest: str | None = None
    study_uid: str | None = None
    series_uid: str | None = None
    sop_uids: tuple[str, ...] = ()
    level: int | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ColourReading:
    """In which colours pixels were read.

    Attributes
    ----------
    profile:
        SHA-256 in hexadecimal of the image's own ICC profile, without padding; ``None`` where it has none,
        ``UNREAD`` where that is not known.
    transform:
        Colour space that pixels were transformed to by that profile; ``NONE`` for colours as stored.
    target_profile:
        SHA-256 in hexadecimal of the profile of that colour space; ``None`` for colours as stored.
    by_client:
        Whether pixels had been transformed before they came here.
    """

    profile: str | None
    transform: IccTarget = IccTarget.NONE
    target_profile: str | None = None
    by_client: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """How an image's patches were read.

    Attributes
    ----------
    resizer:
        Library that resized, with its version; ``None`` where nothing was resized.
    scaled_by_caller:
        Whether the caller has said how large the pixels are.
    require_inside:
        Whether patches had to lie in the image; else they may have black in them.
    transfer_syntaxes:
        UIDs of those in which its frames came, in order; none of what is no DICOM and no JPEG tiles.
    decoders:
        Libraries that decoded, with their versions, in order.
    """

    identity: ImageIdentity
    sampling: Sampling
    resampling: Resampling
    resizer: str | None
    colour: ColourReading
    scaled_by_caller: bool
    require_inside: bool
    decoders: tuple[str, ...]
    transfer_syntaxes: tuple[str, ...] = field(default=())


def colour_reading(
    profile: bytes | str | None, target: IccTarget, transforms: ColourTransforms
) -> ColourReading:
    """Return in which colours an image was read.

    Parameters
    ----------
    profile:
        Its own; empty where it is damaged, ``UNREAD`` where it is not known.
    target:
        What was asked for; an image without a profile is not transformed.
    """
    if profile is None or isinstance(profile, str):
        return ColourReading(profile)
    digest = hashlib.sha256(without_padding(profile)).hexdigest() if profile else UNREAD
    if target is IccTarget.NONE:
        return ColourReading(digest)
    return ColourReading(digest, target, transforms.target_digest(target))
