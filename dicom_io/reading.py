"""The seam of images: what every kind of image gives, however its bytes come here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from dicom_io.colour.profiles import IccTarget
from dicom_io.geometry import Patch, UInt8Array
from dicom_io.stages import ReadStage

PATCHES_AT_ONCE = 8
"""Patches that one task reads, where nothing speaks for fewer."""

Measure = Callable[[ReadStage], AbstractContextManager[None]]


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


class OpenedImage(Protocol):
    """An image whose size is known and whose patches can be read.

    Attributes
    ----------
    width, height:
        Size in pixels of the frame that patches are given in (after any resize).
    memory_bytes:
        What reading it holds at its peak; the caller keeps the sum within a budget.
    patches_at_once:
        Patches that one task reads; known after ``plan``.
    remote:
        Whether ``fetch`` waits for a store.
    decodes_elsewhere:
        Whether ``load`` or ``read`` waits for a decoding helper, and a thread meant for computing should not.
    """

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def patches_at_once(self) -> int: ...
    @property
    def remote(self) -> bool: ...
    @property
    def decodes_elsewhere(self) -> bool: ...

    def extra_reads(self, patches: int) -> int:
        """Return what reading so many patches counts for beyond the patches themselves."""

    def plan(self, patches: Sequence[Patch]) -> Sequence[int]:
        """Hear which patches will be read, begin to fetch, and return the best order to read them in."""

    def load(self) -> None:
        """Do the computing that all patches share. Called once, after ``plan`` and before ``read``."""

    def fetch(self, patches: Sequence[Patch]) -> None:
        """Wait until the bytes that these patches need are here."""

    def read(self, patch: Patch) -> UInt8Array:
        """Return one patch as uint8 RGB ``[height, width, 3]``; safe to call from many threads."""

    def close(self) -> None:
        """Stop fetching and let go."""
