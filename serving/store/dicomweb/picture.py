"""What a picture shall be like (PS3.18, 8.3.5), from the parameters of its address."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask import request

from dicom_io.colour.profiles import IccTarget
from serving.errors import Code, ServiceError

_LARGEST = 4096
_NUMBER = re.compile(r"[0-9]{1,5}")
_QUALITY = 90
_TARGETS = {
    "no": IccTarget.NONE,
    "yes": IccTarget.SRGB,
    "srgb": IccTarget.SRGB,
    "adobergb": IccTarget.ADOBERGB,
    "rommrgb": IccTarget.ROMMRGB,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """How a picture is wanted.

    Attributes
    ----------
    width, height:
        The box that it shall fit into; it is never enlarged.
    quality:
        Of the JPEG, 1 to 100.
    target:
        The colour space that its pixels are brought to.
    """

    width: int
    height: int
    quality: int
    target: IccTarget

    @property
    def side(self) -> int:
        """The longer side of the box."""
        return max(self.width, self.height)


def wanted_picture(side: int | None) -> Picture:
    """Return what the request that is being answered wants.

    Parameters
    ----------
    side:
        Of the box where none is asked for; ``None`` leaves what is rendered as large as it is.

    Raises
    ------
    ServiceError
        INVALID_REQUEST_FIELD_ERROR
    """
    width, height = _viewport(request.args.get("viewport"), side or _LARGEST)
    quality = request.args.get("quality", str(_QUALITY))
    if not _NUMBER.fullmatch(quality) or not 1 <= int(quality) <= 100:
        raise _bad("quality must be a whole number from 1 to 100.")
    target = _TARGETS.get(request.args.get("iccprofile", "yes"))
    if target is None:
        raise _bad(f"iccprofile must be one of {', '.join(_TARGETS)}.")
    return Picture(width, height, int(quality), target)


def _viewport(text: str | None, side: int) -> tuple[int, int]:
    if text is None:
        return side, side
    numbers = text.split(",")
    if len(numbers) != 2 or not all(map(_NUMBER.fullmatch, numbers)):
        raise _bad("viewport must be WIDTH,HEIGHT; a part of an image cannot be asked for.")
    width, height = map(int, numbers)
    if not (1 <= width <= _LARGEST and 1 <= height <= _LARGEST):
        raise _bad(f"viewport must be of 1 to {_LARGEST} pixels a side.")
    return width, height


def _bad(description: str) -> ServiceError:
    return ServiceError(Code.INVALID_REQUEST_FIELD_ERROR, description)
