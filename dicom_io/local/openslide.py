"""Slides of OpenSlide's formats: regions read by OpenSlide, or a TIFF's JPEG tiles decoded as they are.

Both come as frames. A level of baseline JPEG tiles is read like a DICOM level of such frames: each tile's
bytes from the file, decoded by libjpeg-turbo in the thread that needs it. Any other level is read in regions
of one or a few of its tiles, which OpenSlide decodes in a helper process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from dicom_io.codecs.frame_format import FrameError, FrameFormat
from dicom_io.colour.profiles import IccTarget
from dicom_io.decoding.slide_jobs import SlideDescription, SlideFault, SlideFile, StoredLevel, TileTable
from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Spacing, UInt8Array, nearest
from dicom_io.local.file_level import FileLevel, JpegTiles
from dicom_io.local.files import PositionedFile, stamp_of, unreadable
from dicom_io.local.slide import Scale, SlideFacts, UnreadableSlide, believed_scale
from dicom_io.made_of import ImageIdentity
from dicom_io.slides.frame_cache import DecodedFrame, DecodeFrame, EncodedFrame
from dicom_io.slides.level import ScaledLevel, TileGrid
from dicom_io.slides.level_image import LevelOrigin
from dicom_io.slides.opening import LevelFrames
from dicom_io.slides.series import FRAMES_PER_GET
from dicom_io.slides.slide import Slide
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.waiting import Cancellation, Stop

_REGION = (256, 256)
"""Width and height of a region where a level is in no tiles, or in very small or large ones.

Patches that lie alone should have little decoded that they do not need.
"""

_REGION_SIDES = range(128, 1025)

_REGIONS_AT_ONCE = 16
"""Regions that a helper reads in one job, of a block that it alone decodes the tiles of: enough to be worth
the trip to it, few enough for all helpers to be busy."""

_MOST_SIDE = 4096
"""Pixels along an edge of a JPEG tile that is decoded whole; OpenSlide reads parts of larger ones."""

_PLAIN_GRIDS = frozenset({"aperio", "generic-tiff", "philips"})
"""Formats whose tiles lie side by side; those of others overlap, or are put together from several areas."""


class OpenSlideFiles:
    """A slide of OpenSlide's formats; ``SlideFiles``.

    Attributes
    ----------
    slide:
        The levels.
    facts:
        What the file says.
    """

    def __init__(
        self,
        file: SlideFile,
        described: tuple[SlideDescription, bytes | None],
        decode: DecodeFrame,
        slide_mpp: float | None,
    ) -> None:
        description, icc = described
        self._decode = decode
        self.key: Hashable = ("slide", file.path, file.stamp)
        self._file = file
        self._icc = icc
        self._reader = f"OpenSlide {description.library}"
        self._stored = description.levels
        self._has_plain_grid = description.vendor in _PLAIN_GRIDS
        self._bytes = PositionedFile.open(Path(file.path))
        try:
            stated = _stated(description)
            scale = believed_scale(stated, slide_mpp)
            self._jpegs: dict[int, JpegTiles] = {}
            levels = tuple(self._level(index, scale) for index in range(len(self._stored)))
            self.slide: Slide[ScaledLevel] = Slide(levels, scale.why_not)
            self._levels = levels
            self.facts = SlideFacts(
                format=description.vendor,
                spacing=stated,
                objective_power=description.objective_power,
                study_uid=None,
                series_uid=None,
                sop_uids=(),
                digest=hashlib.sha256(
                    self._bytes.whole().ends() + (description.quickhash or "").encode()
                ).hexdigest(),
                has_icc_profile=icc is not None,
            )
        except BaseException:
            self.close()
            raise

    def level_frames(self, index: int, target: IccTarget, session: ReadSession) -> LevelFrames:
        """Return a level with its frames; see ``SlideFiles``."""
        at_once = FRAMES_PER_GET if index in self._jpegs else _REGIONS_AT_ONCE
        store = _Frames(self, session.context.io.at(self.key), session.waits, at_once)
        identity = ImageIdentity("level", self.facts.format, self.facts.digest, level=index)
        origin = LevelOrigin(identity, lambda: self._icc, self._reader)
        wanted = None if target is IccTarget.NONE else self._icc
        return LevelFrames(store, self._levels[index], origin, wanted)

    def frames(
        self, index: int, numbers: Sequence[int], stop: Stop
    ) -> Iterator[tuple[int, EncodedFrame | DecodedFrame]]:
        """Yield frames of a level with their numbers, from 1."""
        jpegs = self._jpegs.get(index)
        at_once = _REGIONS_AT_ONCE if jpegs is None else 1
        for first in range(0, len(numbers), at_once):
            if stop.is_set():
                return
            some = numbers[first : first + at_once]
            if jpegs is not None:
                yield some[0], EncodedFrame(jpegs.tile(some[0] - 1), JPEGBaseline8Bit)
            else:
                regions = self._regions(self._levels[index], [number - 1 for number in some])
                yield from zip(some, map(DecodedFrame, regions), strict=True)

    def close(self) -> None:
        """Close the file."""
        self._bytes.close()

    def _regions(self, level: FileLevel, frames: Sequence[int]) -> Iterator[UInt8Array]:
        """Yield the regions of a level that are its frames, from 0."""
        # OpenSlide wants pixels of level 0. Where levels are no whole number of times smaller, it shifts by
        # what is lost here, less than half a pixel of level 0.
        times, width, height = self._stored[level.index].downsample, level.tile_width, level.tile_height
        places = [
            (
                nearest(frame % level.tiles_across * width * times),
                nearest(frame // level.tiles_across * height * times),
            )
            for frame in frames
        ]
        try:
            yield from self._file.regions(level.index, places, width, height)
        except SlideFault as error:
            if len(frames) == 1:
                self._require_there()
                raise ImageError(
                    ImageCode.IMAGE_ERROR,
                    f"The slide cannot be read: {error}; {level.describe(frames[0])}.",
                ) from error
            for frame in frames:  # one of them is damaged: the others come, and it is named
                yield from self._regions(level, [frame])

    def _require_there(self) -> None:
        """Raise ImageError, INTERNAL_ERROR, when it is the file that is gone: helpers do not tell why."""
        try:
            stamp = stamp_of(Path(self._file.path))
        except OSError as error:
            raise unreadable(error) from error
        if stamp != self._file.stamp:
            raise ImageError(ImageCode.INTERNAL_ERROR, "The slide's file has been changed while it was read.")

    def _level(self, index: int, scale: Scale) -> FileLevel:
        whole, stored = self._stored[0], self._stored[index]
        spacing = scale.spacing and Spacing(
            scale.spacing.x * whole.width / stored.width, scale.spacing.y * whole.height / stored.height
        )
        width, height = _region_size(stored)
        form = FrameFormat(width, height, 3, "RGB", 0)
        regions = FileLevel(
            stored.width, stored.height, width, height, index, spacing, form, ExplicitVRLittleEndian
        )
        found = self._file.jpeg_tiles(stored.width, stored.height) if self._has_plain_grid else None
        if found is None or not self._is_plausible(*found, stored):
            return regions
        jpegs = self._jpeg_tiles(*found)
        if not self._same_pixels(regions, jpegs):
            return regions
        self._jpegs[index] = jpegs
        width, height = jpegs.form.width, jpegs.form.height
        return FileLevel(
            stored.width, stored.height, width, height, index, spacing, jpegs.form, JPEGBaseline8Bit
        )

    def _jpeg_tiles(self, table: TileTable, places: npt.NDArray[np.int64]) -> JpegTiles:
        form = FrameFormat(table.tile_width, table.tile_height, 3, table.photometric, 0)
        tables = bytes.fromhex(table.tables)
        return JpegTiles(self._bytes, form, tables[:-2] if tables else b"\xff\xd8", places)

    @staticmethod
    def _is_plausible(table: TileTable, places: npt.NDArray[np.int64], stored: StoredLevel) -> bool:
        """Return whether a table fits a level: it comes from a process that may have been taken over."""
        grid = TileGrid(stored.width, stored.height, table.tile_width, table.tile_height)
        sides = (table.tile_width, table.tile_height)
        return min(sides) > 0 and max(sides) <= _MOST_SIDE and grid.frames == len(places)

    def _same_pixels(self, regions: FileLevel, jpegs: JpegTiles) -> bool:
        """Return whether OpenSlide sees a tile just as it is decoded here.

        Files may say anything of their colours, and OpenSlide knows its vendors. The tile is one from the
        middle, where tissue is, or the first one where OpenSlide would shift any other.
        """
        times = self._stored[regions.index].downsample
        grid = TileGrid(regions.width, regions.height, jpegs.form.width, jpegs.form.height)
        across, down = (grid.tiles_across // 2, grid.tiles_down // 2) if times == int(times) else (0, 0)
        x, y = across * grid.tile_width, down * grid.tile_height
        width, height = min(grid.tile_width, grid.width - x), min(grid.tile_height, grid.height - y)
        try:
            ours = self._decode(jpegs.tile(down * grid.tiles_across + across), JPEGBaseline8Bit, jpegs.form)
            (theirs,) = self._file.regions(regions.index, [(int(x * times), int(y * times))], width, height)
        except (FrameError, ImageError, SlideFault):
            return False
        return np.array_equal(ours[:height, :width], theirs)


@dataclass(frozen=True, slots=True)
class _Frames:
    """The frames of a slide for one request; a ``FrameStore``."""

    files: OpenSlideFiles
    io: Executor
    waits: Cancellation
    frames_per_get: int

    @property
    def key(self) -> Hashable:
        return self.files.key

    def frames_of(
        self, part: str, numbers: Sequence[int], form: FrameFormat, stop: Stop
    ) -> Iterator[tuple[int, EncodedFrame | DecodedFrame]]:
        return self.files.frames(int(part), numbers, stop)


def open_with_openslide(path: Path, context: ReadContext, slide_mpp: float | None) -> OpenSlideFiles:
    """Open a slide of OpenSlide's formats.

    Raises
    ------
    UnreadableSlide
    SlideFault
        What OpenSlide says of the file.
    """
    try:
        file = SlideFile(
            os.path.abspath(path), stamp_of(path), context.decoders.slide, context.decoders.regions
        )
        return OpenSlideFiles(file, file.describe(), context.decoders.frame, slide_mpp)
    except OSError as error:
        raise UnreadableSlide(f"{path.name} cannot be read: {error.strerror}.") from error


def _stated(description: SlideDescription) -> Spacing | None:
    x, y = description.mpp_x, description.mpp_y
    if x is None or y is None or not (x > 0 and y > 0):
        return None
    return Spacing(x, y)


def _region_size(stored: StoredLevel) -> tuple[int, int]:
    """Return width and height of a level's regions: its tiles', where OpenSlide decodes these one by one."""
    width, height = stored.tile_width or 0, stored.tile_height or 0
    return (width, height) if width in _REGION_SIDES and height in _REGION_SIDES else _REGION
