"""The tiles of one level that a job needs: each is fetched and decoded once, some ahead of their use.

What the job will read is planned as a whole, so that a tile stays exactly until the last patch that needs it
and the next ones are on their way while the encoder works. Bytes of decoded tiles have a bound; where a slide
is so wide that it does not suffice, the oldest are dropped and fetched again.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from dicom_io.codecs.encoded_image import DamagedImage
from dicom_io.codecs.jpeg import open_jpeg
from dicom_io.errors import ImageCode, ImageError, ImageFault
from dicom_io.geometry import Rect, UInt8Array
from dicom_io.once import Once
from dicom_io.waiting import Cancellation
from serving.webhooks.slidescore.client import SlideScoreClient
from serving.webhooks.slidescore.scale import TiledLevel

TILE_BYTES = 128 << 20
"""Decoded tiles that a job keeps, in bytes: two rows of a slide 80,000 pixels wide at this scale."""

AHEAD = 48
"""Tiles, at most, that are on their way or waiting to be read first."""

Place = tuple[int, int]
"""(column, row)."""


class Tile:
    """A tile on its way, then its bytes, then its pixels."""

    def __init__(self, fetched: Future[bytes | ImageFault], level: TiledLevel, place: Place) -> None:
        self.fetched = fetched
        self._level, self._place = level, place
        self.pixels = Once(self._decode)

    def _decode(self) -> UInt8Array:
        data = self.fetched.result()
        if isinstance(data, ImageFault):
            raise ImageError.of(data)
        wanted = self._level.stored(*self._place)
        pixels = decoded(data, wanted.width, wanted.height)
        inside = self._level.area(*self._place)
        return pixels[inside.within(wanted)]


class Tiles:
    """Reads regions of a level.

    Parameters
    ----------
    fetching:
        Threads that wait for the server.
    """

    def __init__(
        self,
        client: SlideScoreClient,
        level: TiledLevel,
        fetching: ThreadPoolExecutor,
        waits: Cancellation,
        kept_bytes: int = TILE_BYTES,
    ) -> None:
        self.level = level
        self._client = client
        self._fetching = fetching
        self.waits = waits
        self._most = max(4, kept_bytes // (3 * level.tiles.side**2))  # a patch has four, at tiles' corners
        self._ahead = min(AHEAD, self._most // 2)
        self._lock = threading.Lock()
        self._uses: Counter[Place] = Counter()
        self._queue: list[Place] = []
        self._next = 0
        self._tiles: OrderedDict[Place, Tile] = OrderedDict()

    @property
    def name(self) -> str:
        """The slide that they are of."""
        return self._client.name

    @property
    def kept(self) -> int:
        """How many tiles are here or on their way."""
        return len(self._tiles)

    def plan(self, regions: Iterable[Rect]) -> None:
        """Say which regions, in pixels of the level, will be read, once each and in about this order."""
        uses: Counter[Place] = Counter(place for region in regions for place in self.level.touched(region))
        with self._lock:
            self._queue += [place for place in uses if place not in self._uses]
            self._uses.update(uses)

    def start(self, regions: Sequence[Rect]) -> dict[Place, Tile]:
        """Return the tiles of regions, on their way at least, and keep the next ones coming."""
        needed = dict.fromkeys(place for region in regions for place in self.level.touched(region))
        with self._lock:
            found = {place: self._on_its_way(place) for place in needed}
            self._fetch_ahead()
        return found

    def wait(self, tiles: dict[Place, Tile]) -> None:
        """Wait until tiles have arrived.

        Raises
        ------
        ImageError
            What fetching one raised; HTTP_ERROR when the deadline passes.
        Cancelled
        """
        for tile in tiles.values():
            try:
                came = self.waits.result(tile.fetched)
            except TimeoutError as error:
                raise ImageError(ImageCode.HTTP_ERROR, "Slide Score did not send a tile in time.") from error
            if isinstance(came, ImageFault):
                raise ImageError.of(came)

    def pixels(self, region: Rect, tiles: dict[Place, Tile]) -> UInt8Array:
        """Put a region together from tiles that have arrived; what is outside of the slide is white.

        Returns
        -------
        uint8 RGB ``[region.height, region.width, 3]``
        """
        # White as glass, not black: a patch at the slide's edge shows what a scanner would.
        out = np.full((region.height, region.width, 3), 255, np.uint8)
        for place in self.level.touched(region):
            area = self.level.area(*place)
            part = area.intersection(region)
            if part is not None:
                out[part.within(region)] = tiles[place].pixels.get()[part.within(area)]
        return out

    def done_with(self, region: Rect) -> None:
        """Let go of tiles after the last region that needs them."""
        with self._lock:
            for place in self.level.touched(region):
                self._uses[place] -= 1
                if self._uses[place] <= 0:
                    del self._uses[place]
                    self._tiles.pop(place, None)

    def close(self) -> None:
        """Drop what is on its way and all that is kept."""
        with self._lock:
            self._next = len(self._queue)
            for tile in self._tiles.values():
                tile.fetched.cancel()
            self._tiles.clear()

    def _on_its_way(self, place: Place) -> Tile:
        tile = self._tiles.get(place)
        if tile is None:
            tile = Tile(self._fetching.submit(self._fetch, place), self.level, place)
            self._tiles[place] = tile
            while len(self._tiles) > self._most:
                self._tiles.popitem(last=False)  # who reads it now holds it; others ask again
        else:
            self._tiles.move_to_end(place)
        return tile

    def _fetch_ahead(self) -> None:
        waiting = sum(not tile.pixels.done for tile in self._tiles.values())
        while self._next < len(self._queue) and waiting < self._ahead:
            place = self._queue[self._next]
            self._next += 1
            if place not in self._tiles and place in self._uses:
                self._on_its_way(place)
                waiting += 1

    def _fetch(self, place: Place) -> bytes | ImageFault:
        try:
            return self._client.tile(self.level.number, *place)
        except ImageError as error:
            return error.fault  # a value: an exception would hold its frames for as long as the tile lives


def decoded(data: bytes, width: int, height: int) -> UInt8Array:
    """Decode a tile, which must be an ordinary JPEG of the size that its place says.

    Returns
    -------
    uint8 RGB ``[height, width, 3]``

    Raises
    ------
    ImageError
        IMAGE_ERROR
    """
    try:
        image = open_jpeg(data, max_pixels=width * height)
        # Progressive JPEG of a few bytes can keep a decoder busy for minutes; tile servers send none.
        if (image.width, image.height) != (width, height) or not image.in_process:
            raise DamagedImage(f"it is {image.width}x{image.height} or progressive, not {width}x{height}")
        pixels, _ = image.decode()
    except (DamagedImage, ImageError) as error:
        raise ImageError(
            ImageCode.IMAGE_ERROR, "Slide Score sent a tile that is not a whole JPEG of its size."
        ) from error
    if pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    if pixels.shape[2] != 3:
        raise ImageError(ImageCode.IMAGE_ERROR, "Slide Score sent a tile that is not RGB or gray.")
    return pixels
