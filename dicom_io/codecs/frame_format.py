"""How a data set's metadata describes its frames, and the checks that every frame decoder makes against it.

Needs no decoder, so that code which only plans, fetches or caches frames loads none.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_io.codecs.encoded_image import DamagedImage

NATIVE = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian})
"""Transfer syntaxes of uncompressed frames; they look alike once they are out of their data set."""

PHOTOMETRIC = (
    "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "XYB", "MONOCHROME1", "MONOCHROME2",
)  # fmt: skip
"""Photometric interpretations that are read (PS3.3, C.7.6.3.1.2)."""

_SUBSAMPLED = "YBR_FULL_422"


class FrameError(ValueError):
    """A frame that cannot be decoded; the text is the reason, as a clause."""


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """How the frames of an image are described by its metadata.

    Attributes
    ----------
    width, height:
        Pixels.
    samples:
        Samples per pixel, 1 or 3.
    photometric:
        One of ``PHOTOMETRIC``.
    planar:
        0 for RGBRGB…, 1 for one plane per colour (native frames).
    """

    width: int
    height: int
    samples: int
    photometric: str
    planar: int

    @property
    def decoded_bytes(self) -> int:
        """Bytes of a frame once decoded."""
        return self.width * self.height * self.samples

    @property
    def native_bytes(self) -> int:
        """Bytes of an uncompressed frame."""
        samples = 2 if self.is_422 else self.samples
        return self.width * self.height * samples

    @property
    def is_422(self) -> bool:
        """Whether native frames hold one pair of chroma samples for each two pixels."""
        return self.photometric == _SUBSAMPLED

    @property
    def is_ybr(self) -> bool:
        """Whether samples of a codec that converts no colours are full-range YCbCr."""
        return self.photometric in ("YBR_FULL", _SUBSAMPLED)

    def require_size(self, width: int, height: int) -> None:
        """Refuse a codestream of another size before a decoder allocates what it claims.

        Raises
        ------
        DamagedImage
        """
        if (width, height) != (self.width, self.height):
            raise DamagedImage(f"it is {width}x{height}, but the metadata says {self.width}x{self.height}")

    def require_samples(self, samples: int, bits: int = 8, kind: str = "") -> None:
        """Refuse a codestream of other samples than ``samples`` unsigned ones of 8 bits.

        Parameters
        ----------
        kind:
            What is unusual about the samples, ``signed`` or ``floating-point``; nothing for plain ones.

        Raises
        ------
        DamagedImage
        """
        if (samples, bits, kind) != (self.samples, 8, ""):
            what = f"{kind} samples" if kind else "samples"
            raise DamagedImage(
                f"it has {samples} {what} of {bits} bits, but the metadata says {self.samples} of 8"
            )


def is_native_size(data: bytes, form: FrameFormat) -> bool:
    """Return whether a frame has the size of an uncompressed one, or that size padded to be even."""
    return form.native_bytes <= len(data) <= form.native_bytes + 1
