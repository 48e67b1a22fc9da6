"""The seam that every kind of image source implements, and the options they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dicom_io.colour import ColourTransforms
from dicom_io.icc_profiles import IccTarget
from dicom_io.patches import Patch, UInt8Array


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How an instance's pixels are to be read (the API's ``extensions``).

    Attributes
    ----------
    image_dimensions:
        (width, height) in pixels to resize the whole image to before patches are cut.
    icc_target:
        Colour space that the image's own ICC profile is transformed to.
    require_inside:
        Whether a patch that is partly outside of the image is an error (else it is black there).
    """

    image_dimensions: tuple[int, int] | None = None
    icc_target: IccTarget = IccTarget.NONE
    require_inside: bool = True


@dataclass(frozen=True, slots=True)
class ReadContext:
    """What sources share inside one process: limits and caches."""

    max_image_pixels: int
    transforms: ColourTransforms


class OpenedImage(Protocol):
    """An image whose size is known and whose pixels can be read.

    Attributes
    ----------
    width, height:
        Size in pixels of the frame that patches are given in (after any resize).
    memory_bytes:
        What ``load`` holds at its peak; the caller keeps the sum within a budget.
    """

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...

    def load(self) -> None:
        """Do the work that all patches share. Called once, before ``read``; may raise ServiceError."""

    def read(self, patch: Patch) -> UInt8Array:
        """Return one patch as uint8 RGB ``[height, width, 3]``; safe to call from many threads."""


class Source(Protocol):
    """What an instance names. Opening it checks it, and reads no more than its header."""

    def open(self, options: ReadOptions, context: ReadContext) -> OpenedImage:
        """Open the image; raises ServiceError with the code that the API names for the fault."""
