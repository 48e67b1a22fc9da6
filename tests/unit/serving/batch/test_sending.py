"""Patches that are read here and sent: by images that are opened, read, asked and closed, in this order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from dicom_io.geometry import Patch
from dicom_io.made_of import Reading
from dicom_io.reading import ReadOptions
from dicom_io.sources.encoded import EncodedSource
from dicom_io.sources.raster import RasterImage
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.sources.shared_raster import SharedRaster
from serving.batch.sending import SendingEmbedder
from serving.config.settings import load_settings
from serving.pipeline.outcome import Embeddings, Outcome
from serving.pipeline.types import Extras, Instance
from serving.processes.assembly import read_context
from tests.support.tissue import encode, tissue


class _Noting(RasterImage):
    """An image that notes what is done with it."""

    done: list[str]

    def reading(self) -> Reading:
        self.done.append("reading")
        return super().reading()

    def close(self) -> None:
        self.done.append("close")
        super().close()


@dataclass(frozen=True)
class _Source(EncodedSource):
    done: list[str] = field(default_factory=list)

    def open(self, options: ReadOptions, session: ReadSession) -> _Noting:
        context = session.context
        shared = SharedRaster(self.data, context.decoders, context.max_image_pixels, traced=True)
        image = _Noting(shared, options, session)
        image.done = self.done
        return image


class _Service:
    """An embedder that gives each patch a vector of ones."""

    metadata: Mapping[str, object] = {"digest": "sha256:0", "dimension": 2}

    def embed(self, instances: Sequence[Instance]) -> list[Outcome]:
        return [Embeddings(np.ones((len(one.patches), 2), np.float32)) for one in instances]


@pytest.fixture(scope="module")
def context() -> Iterator[ReadContext]:
    context = read_context(load_settings())
    yield context
    context.decoders.close()


@pytest.mark.parametrize("each", [False, True])
def test_an_image_is_asked_what_it_has_read_and_closed_once(context: ReadContext, each: bool) -> None:
    source = _Source(lambda: encode(tissue()))
    patches = tuple(Patch(x, 0, 224, 224) for x in (0, 7))
    extras = Extras(provenance=True, per_patch_errors=each)
    sending = SendingEmbedder(_Service(), context, timeout_s=60)
    (found,) = sending.embed([Instance(source, patches, ReadOptions(), extras)])
    assert isinstance(found, Embeddings)
    assert source.done == ["reading", "close"]
