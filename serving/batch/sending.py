"""Patches of a slide that only this machine has, read here and sent to a service."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace

import cv2
import numpy as np

from dicom_io.errors import ImageError, ImageFault
from dicom_io.geometry import Patch, UInt8Array
from dicom_io.reading import ReadOptions, read_each, read_open
from dicom_io.sources.encoded import EncodedSource
from dicom_io.sources.session import ReadContext, ReadSession, Source
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation
from model.encoder import PATCH_SIDE
from serving.errors import Fault, fault_of
from serving.pipeline.embedder import Embedder
from serving.pipeline.outcome import Embeddings, Outcome, joined
from serving.pipeline.provenance import put_together
from serving.pipeline.types import Extras, Instance
from serving.provenance import records_of

_WHOLE = (Patch(0, 0, PATCH_SIDE, PATCH_SIDE),)


class SendingEmbedder:
    """Reads patches here, and embeds each as a PNG of its own: see ``Embedder``.

    The vectors are those of a slide that is read where the encoder is: PNG loses nothing, and sizes and
    colours have been seen to here.
    """

    def __init__(self, service: Embedder, context: ReadContext, timeout_s: float) -> None:
        self._service, self._context, self._timeout_s = service, context, timeout_s

    @property
    def metadata(self) -> Mapping[str, object]:
        """What the service says about its encoder."""
        return self._service.metadata

    def embed(self, instances: Sequence[Instance]) -> list[Outcome]:
        """Embed the patches of instances."""
        return [self._one(instance) for instance in instances]

    def _one(self, instance: Instance) -> Outcome:
        each = instance.extras.per_patch_errors
        waits = Cancellation(time.monotonic() + self._timeout_s)
        traced = instance.extras.provenance
        session = ReadSession(
            self._context, waits, RasterRegistry({}), lambda _: nullcontext(), traced=traced
        )
        try:
            with closing(instance.source.open(instance.options, session)) as image:
                read: list[UInt8Array | ImageFault] = (
                    read_each(image, instance.patches) if each else [*read_open(image, instance.patches)]
                )
                reading = image.reading() if traced else None
                options = ReadOptions(stored_spacing=image.sampling.spacing)
        except ImageError as error:
            return fault_of(error.fault)
        extras = Extras(provenance=traced, patch_quality=instance.extras.patch_quality)
        good = [one for one in read if not isinstance(one, ImageFault)]
        sent = [Instance(_encoded(one), _WHOLE, options, extras) for one in good]
        outcomes = iter(self._service.embed(sent) if sent else ())
        found = [fault_of(one) if isinstance(one, ImageFault) else next(outcomes) for one in read]
        whole = _together(found, each, int(str(self.metadata.get("dimension", 0))))
        if reading is None or isinstance(whole, Fault):
            return whole
        return replace(whole, provenance=put_together(reading, records_of(whole.provenance)))


def _together(found: Sequence[Outcome], each: bool, dimension: int) -> Outcome:
    """Return what became of an instance whose patches were sent one by one."""
    faults = {index: outcome for index, outcome in enumerate(found) if isinstance(outcome, Fault)}
    if faults and not each:
        return next(iter(faults.values()))
    missing = Embeddings(np.full((1, dimension), np.nan, np.float32))
    return joined([missing if isinstance(outcome, Fault) else outcome for outcome in found], faults)


def _encoded(pixels: UInt8Array) -> Source:
    done, data = cv2.imencode(
        ".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    assert done
    encoded = data.tobytes()
    return EncodedSource(_given(encoded))


def _given(data: bytes) -> Callable[[], bytes]:
    return lambda: data
