"""A level of a slide's file, and where its JPEG tiles are in the file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Spacing
from dicom_io.local.files import PositionedFile
from dicom_io.slides.level import FrameAddress, TileGrid
from dicom_io.slides.series import most_encoded_bytes


@dataclass(frozen=True, slots=True)
class FileLevel(TileGrid):
    """A level of a slide's file.

    Attributes
    ----------
    index:
        In its slide.
    spacing:
        Size of a pixel that is believed.
    form, syntax:
        How its frames come: as JPEG tiles, or as native RGB.
    """

    index: int
    spacing: Spacing | None
    form: FrameFormat
    syntax: str

    @property
    def transfer_syntaxes(self) -> tuple[str, ...]:
        """The one that its frames come in."""
        return (self.syntax,)

    @property
    def fault_code(self) -> ImageCode:
        """Of frames that cannot be decoded."""
        return ImageCode.IMAGE_ERROR

    def address(self, frame: int) -> FrameAddress:
        """Return where a frame of the level (from 0) is."""
        return FrameAddress(str(self.index), frame + 1)

    def describe(self, frame: int) -> str:
        """Return the place of a tile."""
        column, row = frame % self.tiles_across, frame // self.tiles_across
        return f"tile {column} of row {row} of level {self.index}"


@dataclass(frozen=True, slots=True)
class JpegTiles:
    """The JPEG tiles of a level in a TIFF file.

    Attributes
    ----------
    tables:
        What each tile begins with: the shared JPEG tables, without their end; or only the start of an image.
    places:
        int64 ``[tiles, 2]``: offset in the file, and size.
    """

    file: PositionedFile
    form: FrameFormat
    tables: bytes
    places: npt.NDArray[np.int64] = field(repr=False)

    def tile(self, number: int) -> bytes:
        """Return a tile, from 0, as a JPEG image of its own; cut off where the file is.

        Raises
        ------
        ImageError
            IMAGE_ERROR when it cannot be read, or is too large for a tile.
        """
        offset, size = (int(value) for value in self.places[number])
        if size > most_encoded_bytes(self.form):
            raise ImageError(ImageCode.IMAGE_ERROR, f"A tile of the slide claims to have {size} bytes.")
        data = self.file.read(offset, size)
        return self.tables + data[2:]  # without its own start of an image
