"""A slide at Slide Score at one resolution: where its tissue is, and the embeddings of its patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dicom_io.geometry import Rect
from dicom_io.reading import ReadOptions
from dicom_io.waiting import Cancellation
from serving.pipeline.embedder import Embedder
from serving.pipeline.types import Instance
from serving.webhooks.analyses.patches import BoolArray, Float32Array, Int64Array
from serving.webhooks.analyses.regions import Region
from serving.webhooks.embedding import Made, embed_in_chunks
from serving.webhooks.slidescore.client import SlideFacts, SlideScoreClient, TileGrid
from serving.webhooks.slidescore.plan import overview_level, rectangle_around, shows_tissue
from serving.webhooks.slidescore.region_image import RegionSource
from serving.webhooks.slidescore.scale import Scale, scale_of
from serving.webhooks.slidescore.servers import Server
from serving.webhooks.slidescore.tiles import Tiles


@dataclass(frozen=True, slots=True)
class Slide:
    """A slide, opened: its metadata has been read."""

    client: SlideScoreClient
    server: Server
    facts: SlideFacts
    grid: TileGrid
    scale: Scale
    waits: Cancellation

    def tissue(self, origins: Int64Array, region: Region) -> BoolArray:
        """Return which squares show tissue, by the part of an overview that shows their region.

        Raises
        ------
        ImageError
        """
        level = overview_level(self.facts, self.grid)
        # Squares may reach beyond a region that is smaller than one.
        around = rectangle_around(region.buffer(self.scale.side), level.shrunk)
        shown = around.intersection(Rect(0, 0, level.width, level.height))
        assert shown is not None  # the region is on the slide
        tiles = Tiles(self.client, level, self.server.fetching, self.waits)
        tiles.plan([shown])
        try:
            held = tiles.start([shown])
            tiles.wait(held)
            return shows_tissue(origins, self.scale, tiles.pixels(shown, held), shown, level.shrunk)
        finally:
            tiles.close()

    def embed(
        self, groups: Sequence[Int64Array], embedder: Embedder, done: Callable[[int, int], None]
    ) -> tuple[list[Float32Array], Made]:
        """Embed the squares of several groups, some at a time.

        Parameters
        ----------
        groups:
            int64 ``[n, 2]`` each: (x, y) of upper left corners.
        done:
            Called with how many patches are done, of how many.

        Returns
        -------
        float32 ``[n, dimension]`` for each group; and all of them, with what there is to say of them.

        Raises
        ------
        NotEmbedded
        """
        tiles = Tiles(self.client, self.scale.level, self.server.fetching, self.waits)
        origins = [(x, y) for group in groups for x, y in group.tolist()]
        side = self.scale.side
        tiles.plan(self.scale.on_level(Rect(x, y, side, side)) for x, y in origins)

        def instance(some: slice) -> Instance:
            source = RegionSource(tiles, self.scale, tuple(origins[some]))
            return Instance(source, source.patches, ReadOptions())

        try:
            made = embed_in_chunks(len(origins), instance, embedder, done)
        finally:
            tiles.close()
        return np.split(made.vectors, np.cumsum([len(group) for group in groups])[:-1]), made


def open_slide(client: SlideScoreClient, server: Server, um_per_px: float, waits: Cancellation) -> Slide:
    """Read a slide's metadata.

    Raises
    ------
    ImageError
        When it cannot be read, or not at this resolution.
    """
    facts = client.facts()
    grid = client.grid()
    return Slide(client, server, facts, grid, scale_of(facts, grid, um_per_px), waits)
