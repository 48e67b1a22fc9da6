"""Patches of a slide that only this machine has, read here and sent to a service."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext

import cv2
import numpy as np

from dicom_io.errors import ImageError
from dicom_io.geometry import Patch, UInt8Array
from dicom_io.reading import ReadOptions, read_open
from dicom_io.sources.encoded import EncodedSource
from dicom_io.sources.session import ReadContext, ReadSession, Source
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation
from model.encoder import PATCH_SIDE
from serving.errors import Fault, fault_of
from serving.pipeline.embedder import Embedder
from serving.pipeline.outcome import Embeddings, Outcome
from serving.pipeline.provenance import joined
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
        waits = Cancellation(time.monotonic() + self._timeout_s)
        traced = instance.extras.provenance
        session = ReadSession(
            self._context, waits, RasterRegistry({}), lambda _: nullcontext(), traced=traced
        )
        try:
            with closing(instance.source.open(instance.options, session)) as image:
                pixels = read_open(image, instance.patches)
                reading = image.reading() if traced else None
                options = ReadOptions(stored_spacing=image.sampling.spacing)
        except ImageError as error:
            return fault_of(error.fault)
        extras = Extras(provenance=traced)
        outcomes = self._service.embed([Instance(_encoded(one), _WHOLE, options, extras) for one in pixels])
        embedded = [outcome for outcome in outcomes if not isinstance(outcome, Fault)]
        if len(embedded) < len(outcomes):
            return next(outcome for outcome in outcomes if isinstance(outcome, Fault))
        told = [record for one in embedded for record in records_of(one.provenance)]
        return Embeddings(
            np.concatenate([one.vectors for one in embedded]),
            provenance=None if reading is None else joined(reading, told),
            magnification=next((one.magnification for one in embedded if one.magnification), None),
        )


def _encoded(pixels: UInt8Array) -> Source:
    done, data = cv2.imencode(
        ".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]
    )
    assert done
    encoded = data.tobytes()
    return EncodedSource(_given(encoded))


def _given(data: bytes) -> Callable[[], bytes]:
    return lambda: data
