"""What a run notes of its instances, and the outcomes that this makes with the encoder's vectors."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dicom_io.made_of import Reading
from dicom_io.quality.measures import Measure
from model.transport.stream import Stream
from serving.errors import Code, Fault
from serving.pipeline.faults import UNEXPECTED, Faults
from serving.pipeline.jobs import Quality
from serving.pipeline.outcome import Embeddings, MagnificationWarning, Outcome
from serving.pipeline.provenance import provenance
from serving.pipeline.types import Instance, Item, patch_count

log = logging.getLogger(__name__)


class Notes:
    """What is noted of a request's instances while their patches are read.

    Attributes
    ----------
    faults:
        Of instances, by their positions in the request.
    patch_faults:
        Of single patches, by their indexes in the request.
    readings:
        What instances' patches have been made of, by position, where that is asked for.
    warnings:
        What the magnification guard says of instances, by position.
    quality:
        float32 ``[patches, measures]`` of the request; ``None`` where it is asked of no instance.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self.faults, self.patch_faults = Faults(), Faults()
        self.readings: dict[int, Reading] = {}
        self.warnings: dict[int, MagnificationWarning] = {}
        self.quality: Quality | None = None
        if any(isinstance(item, Instance) and item.extras.patch_quality for item in items):
            self.quality = np.full((patch_count(items), len(Measure)), np.nan, np.float32)

    def outcomes(self, stream: Stream) -> list[Outcome]:
        """Return the outcome of each item, in their order, once the stream has every vector."""
        outcomes, first = list[Outcome](), 0
        # The encoder gives no NaN: such a row was never written.
        missing = np.asarray(np.isnan(stream.vectors).any(axis=1))
        for position, item in enumerate(self._items):
            rows = range(first, first + patch_count([item]))
            fault = item if isinstance(item, Fault) else self.faults.get(position)
            outcomes.append(fault or self._outcome(position, rows, stream, missing))
            first = rows.stop
        return outcomes

    def _outcome(self, position: int, rows: range, stream: Stream, missing: npt.NDArray[np.bool_]) -> Outcome:
        item = self._items[position]
        assert isinstance(item, Instance)  # a fault is its own outcome
        found, faults = slice(rows.start, rows.stop), dict[int, Fault]()
        if item.extras.per_patch_errors:
            faults = self._faults_of_patches(rows, stream, missing)
        elif refused := [index for index in stream.failed if index in rows]:
            return _refused(f"patch_coordinates[{min(refused) - rows.start}] of this image")
        elif missing[found].any():
            log.error("a patch was not embedded")
            return UNEXPECTED
        vectors = stream.vectors[found]
        quality = self.quality[found] if self.quality is not None and item.extras.patch_quality else None
        if len(faults) == len(vectors):
            return Embeddings(vectors, faults, quality)  # no vector: what it is made of, or worth, is nothing
        reading = self.readings.get(position)
        record = None if reading is None else provenance(reading, stream.facts)
        return Embeddings(vectors, faults, quality, record, self.warnings.get(position))

    def _faults_of_patches(
        self, rows: range, stream: Stream, missing: npt.NDArray[np.bool_]
    ) -> dict[int, Fault]:
        faults: dict[int, Fault] = {}
        for index in np.flatnonzero(missing[rows.start : rows.stop]).tolist():
            if (row := rows.start + index) in self.patch_faults:
                faults[index] = self.patch_faults[row]
            elif row in stream.failed:
                faults[index] = _refused("this patch")
            else:
                log.error("a patch was not embedded")
                faults[index] = UNEXPECTED
        return faults


def _refused(what: str) -> Fault:
    return Fault(Code.IMAGE_ERROR, f"The model could not embed {what}.")
