"""Patches from tiles: the right pixels, each tile fetched once, within a bound of memory."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import cv2
import numpy as np
import pytest

from dicom_io.errors import ImageError
from dicom_io.geometry import Rect, UInt8Array
from dicom_io.reading import ReadOptions, ReadStage, read_here
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation, Cancelled
from dicom_io.web.credentials import BearerToken
from dicom_io.web.urls import parse_url
from serving.webhooks.slidescore.client import SlideScoreClient
from serving.webhooks.slidescore.region_image import RegionSource
from serving.webhooks.slidescore.scale import Scale, scale_of
from serving.webhooks.slidescore.servers import slide_score
from serving.webhooks.slidescore.tiles import Tiles
from serving.webhooks.transport import Transport
from tests.support.slidescore import Behaviour, SlideScore
from tests.support.tiled_slide import StoredSlide
from tests.support.tissue import encode

JPEG_NOISE = 12


def no_time(_: ReadStage) -> AbstractContextManager[None]:
    return nullcontext()


class Reader:
    """Reads squares of slide 1 of a server."""

    def __init__(self, server: SlideScore, um_per_px: float, kept_bytes: int = 128 << 20) -> None:
        self.waits = Cancellation(time.monotonic() + 60)
        transport = Transport(slide_score(parse_url(server.origin)), 10)
        self.client = SlideScoreClient(transport, BearerToken(server.new_token()), 1, self.waits)
        self.scale: Scale = scale_of(self.client.facts(), self.client.grid(), um_per_px)
        self.pool = ThreadPoolExecutor(6)
        self.tiles = Tiles(self.client, self.scale.level, self.pool, self.waits, kept_bytes)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.tiles.close()
        self.pool.shutdown(cancel_futures=True)

    def plan(self, origins: list[tuple[int, int]]) -> None:
        side = self.scale.side
        self.tiles.plan(self.scale.on_level(Rect(x, y, side, side)) for x, y in origins)

    def read(self, origins: list[tuple[int, int]]) -> list[UInt8Array]:
        source = RegionSource(self.tiles, self.scale, tuple(origins))
        session = ReadSession(cast(ReadContext, None), self.waits, RasterRegistry({}), no_time)
        return read_here(source.open(ReadOptions(), session), source.patches)


@contextlib.contextmanager
def reading(
    slide: StoredSlide, um_per_px: float, kept_bytes: int = 128 << 20
) -> Iterator[tuple[Reader, SlideScore]]:
    with SlideScore({1: slide}) as server, Reader(server, um_per_px, kept_bytes) as reader:
        yield reader, server


def truth(slide: StoredSlide, scale: Scale, x: int, y: int) -> UInt8Array:
    by = scale.level.shrunk
    square = scale.on_level(Rect(x, y, scale.side, scale.side))
    width, height = slide.level_size(scale.level.halvings)
    whole = np.full((square.height, square.width, 3), 255, np.uint8)
    inside = square.clip(width, height)
    assert by >= 1
    if inside is not None:
        whole[inside.within(square)] = slide.pixels(scale.level.halvings, inside)
    return np.asarray(cv2.resize(whole, (224, 224), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.mark.parametrize("overlap", [0, 1, 4])
@pytest.mark.parametrize("um_per_px", [0.25, 0.4, 0.5, 1.1])
def test_a_patch_shows_its_square_at_every_scale(um_per_px: float, overlap: int) -> None:
    slide = StoredSlide(5003, 3001, tile_side=256 - 2 * overlap, overlap=overlap)
    origins = [(0, 0), (1000, 500), (1333, 777), (5003 - 100, 3001 - 100), (4000, 0)]
    with reading(slide, um_per_px) as (reader, _):
        reader.plan(origins)
        for (x, y), pixels in zip(origins, reader.read(origins), strict=True):
            wanted = truth(slide, reader.scale, x, y)
            assert pixels.shape == (224, 224, 3)
            assert np.abs(pixels.astype(int) - wanted).mean() < 3, (x, y)
            assert np.percentile(np.abs(pixels.astype(int) - wanted), 99) <= JPEG_NOISE, (x, y)


def grid(columns: int, rows: int, side: int) -> list[tuple[int, int]]:
    return [(column * side, row * side) for row in range(rows) for column in range(columns)]


def test_each_tile_is_fetched_once_however_the_patches_are_chunked() -> None:
    with reading(StoredSlide(6000, 4000), 0.5) as (reader, server):
        origins = grid(13, 8, reader.scale.side)
        reader.plan(origins)
        for start in range(0, len(origins), 10):
            reader.read(origins[start : start + 10])
        asked = Counter(request.path.split("/i_files/")[1] for request in server.tile_requests())
        assert set(asked.values()) == {1}
        assert reader.tiles.kept == 0


def test_memory_has_a_bound_on_the_widest_slide_and_pixels_are_right_all_the_same() -> None:
    slide = StoredSlide(30_000, 1400)
    with reading(slide, 0.5, kept_bytes=0) as (reader, _):
        origins = grid(66, 3, reader.scale.side)
        reader.plan(origins)
        most = 0
        for start in range(0, len(origins), 33):
            pixels = reader.read(origins[start : start + 33])
            most = max(most, reader.tiles.kept)
            wanted = truth(slide, reader.scale, *origins[start])
            assert np.abs(pixels[0].astype(int) - wanted).mean() < 3
        assert most <= 4


def test_of_large_tiles_as_few_are_kept_as_the_bound_has_room_for() -> None:
    with reading(StoredSlide(9000, 9000, tile_side=2048), 0.25, kept_bytes=128 << 20) as (reader, _):
        origins = grid(40, 40, reader.scale.side)
        reader.plan(origins)
        reader.read(origins[:1])
        assert 3 * 2048**2 * reader.tiles.kept <= 128 << 20


@pytest.mark.parametrize(
    "data",
    [b"no image", encode(np.zeros((10, 10, 3), np.uint8), "JPEG"), encode(np.zeros((255, 255, 3), np.uint8))],
)
def test_a_tile_that_is_not_what_its_place_says_fails_the_patches(data: bytes) -> None:
    with reading(StoredSlide(2000, 2000), 0.5) as (reader, server):
        server.behaviour = Behaviour(override=lambda r: (200, {}, data) if r.is_tile else None)
        reader.plan([(0, 0)])
        with pytest.raises(ImageError, match="whole JPEG"):
            reader.read([(0, 0)])


@pytest.mark.parametrize("options", [{"progressive": True}, {"cut": True}])
def test_a_tile_that_is_progressive_or_cut_off_fails_the_patches(options: dict[str, bool]) -> None:
    slide = StoredSlide(2000, 2000)
    whole = encode(
        slide.pixels(1, Rect(0, 0, 255, 255)), "JPEG", progressive=options.get("progressive", False)
    )
    data = whole[: len(whole) // 2] if options.get("cut") else whole
    with reading(slide, 0.5) as (reader, server):
        server.behaviour = Behaviour(override=lambda r: (200, {}, data) if r.is_tile else None)
        reader.plan([(0, 0)])
        with pytest.raises(ImageError, match="whole JPEG"):
            reader.read([(0, 0)])


def test_gray_tiles_are_gray_patches() -> None:
    slide = StoredSlide(224, 224, mpp=0.5)
    with reading(slide, 0.5) as (reader, server):
        gray = encode(np.full((224, 224), 77, np.uint8), "JPEG", quality=100)
        server.behaviour = Behaviour(override=lambda r: (200, {}, gray) if r.is_tile else None)
        reader.plan([(0, 0)])
        (pixels,) = reader.read([(0, 0)])
        assert np.unique(pixels).tolist() == [77]


def test_a_job_that_ends_waits_for_no_tile() -> None:
    with reading(StoredSlide(2000, 2000), 0.5) as (reader, _):
        reader.plan([(0, 0)])
        reader.waits.cancel()
        with pytest.raises((Cancelled, ImageError)):
            reader.read([(0, 0)])
