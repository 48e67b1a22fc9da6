"""Chunks of a slide's patches, embedded with an error for those that fail."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence

from dicom_io.geometry import Patch
from dicom_io.reading import ReadOptions
from dicom_io.sources.session import Source
from model.encoder import PATCH_SIDE, Vectors
from serving.batch.plan import Origin
from serving.errors import Code, Fault
from serving.output.table import Model, Rows
from serving.pipeline.embedder import Embedder
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


_TOLD = Extras(provenance=True)
"""What is wanted besides vectors: an output says what it is made of."""


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

    Attributes
    ----------
    warning:
        What the magnification guard has said of what was embedded; empty for nothing.
    """

    def __init__(self, source: Source, options: ReadOptions, embedders: queue.SimpleQueue[Embedder]) -> None:
        self._source, self._options, self._embedders = source, options, embedders
        self.warning = ""
        self._failed_in_a_row = 0
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
            found = list(self._isolating(embedder, origins, told))
            model = model_of(embedder)
        finally:
            self._embedders.put(embedder)
        vectors, errors = [vector for vector, _ in found], [error for _, error in found]
        return Rows(origins, vectors, errors, merged(told)), model

    def _isolating(
        self, embedder: Embedder, origins: Sequence[Origin], told: list[Provenance]
    ) -> Iterator[tuple[Vectors | None, str | None]]:
        """Yield a vector or an error for each patch; patches that fail together are retried in halves.

        Parameters
        ----------
        told:
            Gets what the vectors are made of.
        """
        patches = tuple(Patch(x, y, PATCH_SIDE, PATCH_SIDE) for x, y in origins)
        (found,) = embedder.embed([Instance(self._source, patches, self._options, _TOLD)])
        if not isinstance(found, Fault):
            with self._lock:
                self._failed_in_a_row = 0
                if found.magnification is not None:
                    self.warning = found.magnification.description
            told.extend(records_of(found.provenance))
            yield from ((vector, None) for vector in found.vectors)
        elif found.code not in _OF_ONE_PATCH:
            raise Stopped(found)
        elif len(origins) > 1:
            middle = len(origins) // 2
            yield from self._isolating(embedder, origins[:middle], told)
            yield from self._isolating(embedder, origins[middle:], told)
        else:
            with self._lock:
                self._failed_in_a_row += found.code in _OF_OUTAGES
                failed = self._failed_in_a_row
            if failed >= OUTAGE:
                raise Stopped(found)
            # A table holds text; a service may send halves of characters.
            yield None, f"{found.code}: {found.description}".encode("utf-8", "replace").decode("utf-8")


def model_of(embedder: Embedder) -> Model:
    """Return what makes an embedder's vectors; known after its first call."""
    facts = embedder.metadata
    digest = str(facts["digest"])
    return Model(digest, str(facts.get("model", digest)), bool(facts.get("untrained")))
