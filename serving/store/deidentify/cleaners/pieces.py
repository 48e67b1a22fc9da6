"""What cleaners are told of a frame, and what they give back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dicom_io.codecs.encoded_image import DamagedImage


@dataclass(frozen=True, slots=True)
class FrameShape:
    """The size of an image's frames.

    Attributes
    ----------
    width, height:
        Pixels.
    samples:
        Per pixel.
    sample_bytes:
        Of each.
    """

    width: int
    height: int
    samples: int
    sample_bytes: int

    def require(self, width: int, height: int) -> None:
        """Refuse a frame of another size: what is beyond rows and columns would be stored and never shown.

        Raises
        ------
        DamagedImage
        """
        if (width, height) != (self.width, self.height):
            raise DamagedImage("it is of another size than rows and columns say")

    def require_samples(self, samples: int) -> None:
        """Refuse a frame with other components than samples: more of them would be stored and never shown.

        Raises
        ------
        DamagedImage
        """
        if samples != self.samples:
            raise DamagedImage("it has other components than samples per pixel")


@dataclass(frozen=True, slots=True)
class CleanFrame:
    """A frame as it stays.

    Attributes
    ----------
    pieces:
        Its bytes, in order.
    removed:
        How many parts were left out.
    """

    pieces: tuple[bytes | memoryview, ...]
    removed: int

    @property
    def size(self) -> int:
        """Bytes of all pieces."""
        return sum(map(len, self.pieces))


FrameCleaner = Callable[[bytes, FrameShape], CleanFrame]
"""Raises ``DamagedImage`` when it does not understand a frame."""


def trailing(data: bytes, end: int) -> int:
    """Return whether something other than padding follows a frame's end, as a number to count."""
    rest = len(data) - end
    return int(rest > 1 or (rest == 1 and data[end] != 0))
