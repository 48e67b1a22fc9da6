"""A series of DICOM files of which only the headers are held: enough to tell what is wrong with it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.errors import ImageCode, ImageError
from dicom_io.slides.frame_cache import EncodedFrame
from dicom_io.slides.instance import SopInstance
from dicom_io.waiting import Cancellation, Stop


@dataclass(frozen=True, slots=True)
class HeaderSeries:
    """The headers of a series; a ``Series`` without frames."""

    held: tuple[SopInstance, ...]
    io: Executor
    waits: Cancellation

    @property
    def key(self) -> Hashable:
        """Nothing of it is cached."""
        return "headers", id(self)

    def instances(self, uids: Sequence[str] | None = None) -> tuple[SopInstance, ...]:
        """Return all instances."""
        return self.held

    def frames(
        self, instance: SopInstance, numbers: Sequence[int], form: FrameFormat, stop: Stop
    ) -> Iterator[tuple[int, EncodedFrame]]:
        """Raise: the files are closed."""
        raise ImageError(ImageCode.DICOM_ERROR, "Only the headers of these files have been read.")

    def icc_profile(self, uri: str) -> bytes:
        """Raise: profiles in files are inline."""
        raise ImageError(ImageCode.DICOM_ERROR, "A DICOM file refers to its ICC profile by an address.")
