"""Where the patches of an analysis lie on the slide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_OFF_LATTICE = 0.05
"""Share of a cell by which a patch may lie beside its place: origins are whole pixels, and a level that was
resized to whole pixels has a slightly different scale on each axis."""


@dataclass(frozen=True)
class Patches:
    """Square patches of one size, at the places of one lattice.

    Attributes
    ----------
    origins:
        int64 ``[n, 2]``, at least one: (x, y) of the upper left corners in level-0 pixels.
    side:
        Side of a patch in level-0 pixels; a patch that was resized may have a fraction.
    step:
        Pixels of level 0 from one patch to the next; ``None`` is ``side``. Where patches overlap, each
        stands for the cell of ``step`` pixels around its centre.

    Raises
    ------
    ValueError
        When shapes or types are others, or there is no patch.
    """

    origins: Int64Array
    side: float
    step: float | None = None

    def __post_init__(self) -> None:
        if self.origins.ndim != 2 or self.origins.shape[1] != 2 or self.origins.dtype != np.int64:
            raise ValueError(f"origins are {self.origins.dtype} {list(self.origins.shape)}, not int64 [n, 2]")
        if not len(self.origins):
            raise ValueError("there is no patch")
        if not (self.side >= 1 and self.pitch >= 1):
            raise ValueError(f"a side of {self.side} and a step of {self.step} pixels are no patches")

    def __len__(self) -> int:
        return len(self.origins)

    @property
    def pitch(self) -> float:
        """Width and height of the cell of the lattice that a patch stands for, in level-0 pixels."""
        return self.side if self.step is None else self.step

    @property
    def centres(self) -> Float64Array:
        """float64 ``[n, 2]``: (x, y) of the patches' centres."""
        return np.asarray(self.origins + self.side / 2, np.float64)

    @cached_property
    def cells(self) -> Int64Array:
        """int64 ``[n, 2]``: (column, row) of each patch's cell; the least of each is 0.

        Raises
        ------
        ValueError
            When patches do not lie on one lattice, or two lie on one place.
        """
        cells = np.stack([self._indexes(0), self._indexes(1)], axis=1)
        if len(np.unique(cells, axis=0)) < len(cells):
            raise ValueError("two patches lie on one place of the lattice")
        return cells

    def _indexes(self, axis: int) -> Int64Array:
        """Return each patch's column (axis 0) or row, counted from one to the next.

        From the first, what a side is off by would add up over a slide.
        """
        places = self.origins[:, axis]
        known = np.unique(places)
        gaps = np.diff(known) / self.pitch
        if np.abs(gaps - np.rint(gaps)).max(initial=0) > _OFF_LATTICE + 1 / self.pitch:
            raise ValueError(f"the patches do not lie on one lattice of {self.pitch:g} pixels")
        indexes = np.cumsum(np.rint(gaps), dtype=np.float64)
        return np.asarray(np.append(0, indexes)[np.searchsorted(known, places)], np.int64)

    @cached_property
    def edges(self) -> tuple[Int64Array, Int64Array]:
        """Edges of the lattice's columns and of its rows, int64 ``[columns + 1]`` and ``[rows + 1]``.

        Cells that touch share an edge to the pixel, whatever fraction a patch's side has.
        """
        return self._edges(0), self._edges(1)

    def _edges(self, axis: int) -> Int64Array:
        cells, inset = self.cells[:, axis], (self.side - self.pitch) / 2
        known, first = np.unique(cells, return_index=True)
        starts = self.origins[first, axis] + inset
        known, starts = np.append(known, known[-1] + 1), np.append(starts, starts[-1] + self.pitch)
        return np.asarray(np.rint(np.interp(np.arange(known[-1] + 1), known, starts)), np.int64)
