"""What a decoding helper is asked about a slide's files, and what it answers; loads no library."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dicom_io.geometry import UInt8Array

NOT_KNOWN = "it is of no format that OpenSlide knows"
"""The fault of a file that is no slide."""


NOT_INSTALLED = "OpenSlide is not installed; pip install pathserve[slides]"
"""The fault of every file where the libraries that read slides are not there."""


class SlideFault(Exception):
    """A slide that cannot be read; the text says why, as a clause."""


@dataclass(frozen=True, slots=True)
class StoredLevel:
    """A level as OpenSlide tells it; sizes in pixels.

    Attributes
    ----------
    downsample:
        OpenSlide's factor from this level's coordinates to those of level 0.
    tile_width, tile_height:
        Of the tiles that it is stored in, where these lie side by side.
    """

    width: int
    height: int
    downsample: float
    tile_width: int | None
    tile_height: int | None


@dataclass(frozen=True, slots=True)
class SlideDescription:
    """What OpenSlide tells of a slide; properties that are missing or no numbers are ``None``.

    Attributes
    ----------
    mpp_x, mpp_y:
        Size of a pixel of level 0 in µm.
    quickhash:
        OpenSlide's hash of the slide's metadata and smallest level, as far as it can make one.
    library:
        Version of OpenSlide.
    """

    vendor: str
    levels: tuple[StoredLevel, ...]
    mpp_x: float | None
    mpp_y: float | None
    objective_power: float | None
    quickhash: str | None
    library: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @staticmethod
    def of_json(document: dict[str, Any]) -> SlideDescription:
        """Return what ``to_json`` has made into JSON."""
        levels = tuple(StoredLevel(**level) for level in document.pop("levels"))
        return SlideDescription(levels=levels, **document)


@dataclass(frozen=True, slots=True)
class TileTable:
    """Where the JPEG tiles of a level are in a TIFF file.

    Attributes
    ----------
    photometric:
        ``RGB`` or ``YBR_FULL_422``, as of DICOM.
    tables:
        JPEG tables that all tiles share, in hexadecimal; may be empty.
    """

    tile_width: int
    tile_height: int
    photometric: str
    tables: str


class AsksHelper(Protocol):
    """Sends a job to a helper; ``DecodePool.slide``."""

    def __call__(self, job: dict[str, Any], room: int) -> tuple[UInt8Array, bytes]:
        """Return what the helper gives: bytes or pixels, and JSON.

        Raises
        ------
        SlideFault
        """
        ...


LooksAtRegions = Callable[[dict[str, Any], tuple[int, int, int, int]], list[UInt8Array]]
"""Sends a job about regions to a helper; ``DecodePool.regions``."""


@dataclass(frozen=True, slots=True)
class SlideFile:
    """A slide's file, read in helper processes. Safe for many threads.

    Attributes
    ----------
    path:
        Absolute.
    stamp:
        Changes when the file does.
    """

    path: str
    stamp: str
    ask: AsksHelper
    look: LooksAtRegions

    def describe(self) -> tuple[SlideDescription, bytes | None]:
        """Return what OpenSlide tells of it, and its ICC profile.

        Raises
        ------
        SlideFault
        ImageError
            INTERNAL_ERROR when no helper is available; so do all others.
        """
        icc, facts = self.ask(self._job(), _PROFILE_BYTES + _FACTS_BYTES)
        return SlideDescription.of_json(json.loads(facts)), icc.tobytes() or None

    def jpeg_tiles(self, width: int, height: int) -> tuple[TileTable, npt.NDArray[np.int64]] | None:
        """Return where a level's JPEG tiles are, int64 ``[tiles, 2]``; see ``slide_files.jpeg_tiles``."""
        places, facts = self.ask(self._job(tiles=[width, height]), _TABLE_BYTES + _FACTS_BYTES)
        if not facts:
            return None
        return TileTable(**json.loads(facts)), places.view(np.int64).reshape(-1, 2)

    def regions(
        self, level: int, places: Sequence[tuple[int, int]], width: int, height: int
    ) -> list[UInt8Array]:
        """Return regions of a level, uint8 RGB; see ``slide_files.SlideHandles.regions``.

        Parameters
        ----------
        places:
            Upper left pixel of each, x and y, in pixels of level 0.
        """
        job = self._job(level=level, regions=places, width=width, height=height)
        return self.look(job, (len(places), height, width, 3))

    def _job(self, **what: object) -> dict[str, Any]:
        return {"slide": {"path": self.path, "stamp": self.stamp}, **what}


_PROFILE_BYTES = 16 << 20
_FACTS_BYTES = 1 << 20
_TABLE_BYTES = 64 << 20
"""Room for four million tiles: a slide of 500,000 pixels a side in tiles of 256."""
