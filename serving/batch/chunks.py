"""Chunks of a slide's patches, embedded with an error for those that fail."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.geometry import Patch
from dicom_io.quality.measures import Measure
from dicom_io.reading import ReadOptions
from dicom_io.sources.session import Source
from model.encoder import PATCH_SIDE, Vectors
from serving.batch.min_quality import Bounds
from serving.batch.plan import Origin
from serving.batch.quality import good_enough
from serving.errors import Code, Fault
from serving.output.table import Model, Rows
from serving.pipeline.embedder import Embedder
from serving.pipeline.outcome import Embeddings
from serving.pipeline.types import Extras, Instance
from serving.provenance import Provenance, merged, records_of

OUTAGE = 20
"""A slide is given up when its store, its file or the service has failed for this many patches in a row."""

_OF_OUTAGES = {Code.HTTP_ERROR, Code.INTERNAL_ERROR}
_OF_ONE_PATCH = {
    Code.DICOM_ERROR,
    Code.IMAGE_ERROR,
    Code.HTTP_ERROR,
    Code.INTERNAL_ERROR,
    Code.PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR,
    Code.TOO_MANY_PATCHES_ERROR,
}
"""Codes that may concern only some of the patches."""


_NO_QUALITY = Fault(
    "INVALID_REQUEST_FIELD_ERROR",
    "The service does not tell the quality of patches; it needs a later pathserve.",
)


@dataclass(frozen=True, slots=True)
class _Row:
    """What has become of a patch: a vector or a fault, and its quality where that was measured."""

    vector: Vectors | None
    fault: Fault | None
    quality: npt.NDArray[np.float32] | None = None


class Stopped(Exception):
    """A fault that every further patch would meet as well.

    Attributes
    ----------
    fault:
        What it is.
    """

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(
            f"{fault.code}: {fault.description} What is done is kept; the same command goes on from there."
        )


class ChunkEmbedder:
    """Embeds chunks of one slide; several threads may do so at once.

    Parameters
    ----------
    embedders:
        As many as there are threads: each takes one, and puts it back.
    quality:
        Whether rows have the quality of their patches.
    bounds:
        Patches that are not so good are left out of the rows.

    Attributes
    ----------
    warning:
        What the magnification guard has said of what was embedded; empty for nothing.
    """

    def __init__(
        self,
        source: Source,
        options: ReadOptions,
        embedders: queue.SimpleQueue[Embedder],
        *,
        quality: bool = False,
        bounds: Bounds = (),
    ) -> None:
        self._source, self._options, self._embedders = source, options, embedders
        self.warning = ""
        self._bounds = bounds
        self._extras = Extras(provenance=True, per_patch_errors=True, patch_quality=quality)
        self._failed_in_a_row = self._alone_in_a_row = 0
        self._lock = threading.Lock()

    def embed(self, origins: Sequence[Origin]) -> tuple[Rows, Model]:
        """Embed the patches of a chunk.

        Raises
        ------
        Stopped
        ServiceFault
            When a service fails as a whole.
        """
        embedder = self._embedders.get()
        told: list[Provenance] = []
        try:
            found = self._tried_again(embedder, origins, self._asked(embedder, origins, told), told)
            model = model_of(embedder)
        finally:
            self._embedders.put(embedder)
        self._require_going_on(origins, found)
        return self._rows(origins, found, told), model

    def _rows(self, origins: Sequence[Origin], found: Sequence[_Row], told: Sequence[Provenance]) -> Rows:
        quality = None
        if self._extras.patch_quality:
            none = np.full(len(Measure), np.nan, np.float32)
            quality = np.stack([none if row.quality is None else row.quality for row in found])
            kept = np.flatnonzero(good_enough(quality, self._bounds)).tolist()
            origins, found, quality = [origins[i] for i in kept], [found[i] for i in kept], quality[kept]
        return Rows(
            origins,
            [None if row.fault is not None else row.vector for row in found],
            [None if row.fault is None else _text(row.fault) for row in found],
            merged(told),
            quality,
        )

    def _asked(self, embedder: Embedder, origins: Sequence[Origin], told: list[Provenance]) -> list[_Row]:
        """Return a vector or a fault for each patch; of a fault of all of them, half of them are asked again.

        So it is where the fault is one of how many they are, and with services that know no faults of
        single patches.

        Parameters
        ----------
        told:
            Gets what the vectors are made of.
        """
        patches = tuple(Patch(x, y, PATCH_SIDE, PATCH_SIDE) for x, y in origins)
        (found,) = embedder.embed([Instance(self._source, patches, self._options, self._extras)])
        if not isinstance(found, Fault):
            self._alone_in_a_row = 0
            if found.magnification is not None:
                self.warning = found.magnification.description
            told.extend(records_of(found.provenance))
            return self._told(found)
        if found.code not in _OF_ONE_PATCH:
            raise Stopped(found)
        if len(origins) > 1:
            middle = len(origins) // 2
            return [
                *self._asked(embedder, origins[:middle], told),
                *self._asked(embedder, origins[middle:], told),
            ]
        self._alone_in_a_row += found.code in _OF_OUTAGES
        if self._alone_in_a_row >= OUTAGE:
            raise Stopped(found)
        return [_Row(None, found)]

    def _told(self, found: Embeddings) -> list[_Row]:
        if self._extras.patch_quality and found.quality is None and len(found.faults) < len(found.vectors):
            raise Stopped(_NO_QUALITY)
        quality = [None] * len(found.vectors) if found.quality is None else found.quality
        return [
            _Row(vector, found.faults.get(index), measures)
            for index, (vector, measures) in enumerate(zip(found.vectors, quality, strict=True))
        ]

    def _tried_again(
        self, embedder: Embedder, origins: Sequence[Origin], found: list[_Row], told: list[Provenance]
    ) -> list[_Row]:
        """Ask once more for patches whose fault may have passed."""
        failed = [i for i, row in enumerate(found) if row.fault is not None and row.fault.code in _OF_OUTAGES]
        again = self._asked(embedder, [origins[index] for index in failed], told) if failed else []
        return [*(dict(enumerate(found)) | dict(zip(failed, again, strict=True))).values()]

    def _require_going_on(self, origins: Sequence[Origin], found: Sequence[_Row]) -> None:
        """Raise Stopped where patches have faults that are not theirs, in about the order of reading."""
        with self._lock:
            for _, row in sorted(zip(origins, found, strict=True), key=lambda one: one[0][::-1]):
                if row.fault is None:
                    self._failed_in_a_row = 0
                    continue
                self._failed_in_a_row += row.fault.code in _OF_OUTAGES
                if self._failed_in_a_row >= OUTAGE or row.fault.code not in _OF_ONE_PATCH:
                    raise Stopped(row.fault)


def _text(fault: Fault) -> str:
    """Return a fault as a table has it: as text, though a service may send halves of characters."""
    return f"{fault.code}: {fault.description}".encode("utf-8", "replace").decode("utf-8")


def model_of(embedder: Embedder) -> Model:
    """Return what makes an embedder's vectors; known after its first call."""
    facts = embedder.metadata
    digest = str(facts["digest"])
    return Model(digest, str(facts.get("model", digest)), bool(facts.get("untrained")))
