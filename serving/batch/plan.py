"""In which order the patches of a level are embedded: in blocks, so that few tiles are read twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

CHUNK = 512
"""Patches that are embedded, and written, at once."""

BAND_ROWS = 16
"""Rows of the grid that a block is high: 16 x 32 patches share all tiles but those at the block's edges. A
row of 512 patches shares its tiles with the next row, which is read when they are long forgotten."""

Origin = tuple[int, int]
"""(x, y) of a patch's upper left pixel."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A level's patches, in chunks.

    Attributes
    ----------
    chunks:
        Patches that are embedded together, column by column of a band.
    bands:
        Numbers of the chunks of each band. A band's rows come before those of the next.
    """

    chunks: tuple[tuple[Origin, ...], ...]
    bands: tuple[tuple[int, ...], ...]

    @property
    def patches(self) -> int:
        """The number of all patches."""
        return sum(map(len, self.chunks))


def plan(origins: Sequence[Origin]) -> Plan:
    """Return a plan of patches, the same one for the same patches.

    Parameters
    ----------
    origins:
        Row by row from the upper left.
    """
    chunks: list[tuple[Origin, ...]] = []
    bands = []
    for band in _bands(origins):
        in_columns = sorted(band)
        some = [tuple(in_columns[first : first + CHUNK]) for first in range(0, len(in_columns), CHUNK)]
        bands.append(tuple(range(len(chunks), len(chunks) + len(some))))
        chunks += some
    return Plan(tuple(chunks), tuple(bands))


def _bands(origins: Sequence[Origin]) -> Iterator[list[Origin]]:
    """Yield some rows at a time: more than ``BAND_ROWS`` where there is little tissue in them."""
    band: list[Origin] = []
    rows = 0
    for _, row in groupby(origins, key=lambda origin: origin[1]):
        if rows >= BAND_ROWS and len(band) >= CHUNK:
            yield band
            band, rows = [], 0
        band += row
        rows += 1
    if band:
        yield band
