"""What embeds for jobs: an encoder here or a service give the same vectors, and the job's end ends both."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Patch, Sampling
from dicom_io.made_of import Reading
from dicom_io.reading import OpenedImage, PatchTask, ReadOptions, in_chunks
from dicom_io.sources.encoded import EncodedSource
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.waiting import Cancellation, Cancelled
from model.transport.stream import Abandoned
from serving.client import PathserveClient
from serving.config.settings import SettingsError, load_settings
from serving.errors import Fault, ServiceError
from serving.pipeline.in_process import InProcessEmbedder
from serving.pipeline.outcome import Embeddings
from serving.pipeline.types import Extras, Instance
from serving.processes.assembly import read_context
from serving.webhooks.service.embedders import Embedding, LocalEmbedding
from serving.webhooks.service.remote import BATCH, RemoteEmbedding, client_maker
from tests.support.app import App, ServedApp
from tests.support.models import POISON, probe
from tests.support.readings import plain_reading
from tests.support.tissue import UInt8Array, encode, tissue


class OwnImage(OpenedImage):
    """An image of a webhook's own: its pixels, read a few patches at a time."""

    def __init__(self, pixels: UInt8Array) -> None:
        self.height, self.width = pixels.shape[:2]
        self.memory_bytes = pixels.nbytes
        self.decodes_elsewhere = False
        self._pixels = pixels
        self.sampling = Sampling(self.width, self.height, None, self.width, self.height)

    def reading(self) -> Reading:
        """Return little."""
        return plain_reading(self.sampling)

    def read(self, patches: Sequence[Patch]) -> Iterator[PatchTask]:
        """Return tasks, the last patches first."""
        for indexes in in_chunks(range(len(patches) - 1, -1, -1), 5):
            yield PatchTask(indexes, lambda mine=indexes: [self._cut(patches[i]) for i in mine])  # type: ignore[misc]

    def _cut(self, patch: Patch) -> UInt8Array:
        return self._pixels[patch.y : patch.y + 224, patch.x : patch.x + 224]


@dataclass(frozen=True)
class OwnSource:
    """A source that no service knows."""

    pixels: UInt8Array | None
    origin: Hashable | None = None
    shared_key: Hashable | None = None

    def open(self, options: ReadOptions, session: ReadSession) -> OpenedImage:
        """Open it, if there is anything."""
        if self.pixels is None:
            raise ImageError(ImageCode.HTTP_ERROR, "The tile server is away.")
        return OwnImage(self.pixels)


PIXELS = tissue(1500, 1200)
PATCHES = tuple(Patch(x, y, 224, 224) for y in range(0, 900, 61) for x in range(0, 1200, 97))


def truth() -> np.ndarray:
    return probe(np.stack([PIXELS[p.y : p.y + 224, p.x : p.x + 224] for p in PATCHES]))


@pytest.fixture(scope="module")
def context() -> Iterator[ReadContext]:
    made = read_context(load_settings({}, {}))
    yield made
    made.decoders.close()


@pytest.fixture
def local(probe_app: App) -> LocalEmbedding:
    return LocalEmbedding(InProcessEmbedder(probe_app.predictor, 60.0, probe_app.predictor.require_ready()))


@pytest.fixture
def remote(served_app: ServedApp, context: ReadContext) -> Iterator[RemoteEmbedding]:
    settings = load_settings({"PATHSERVE_SERVICE_URL": served_app.url}, {})
    with RemoteEmbedding(client_maker(settings), context, 3) as made:
        yield made


@pytest.fixture(params=["local", "remote"])
def either(request: pytest.FixtureRequest) -> Embedding:
    embedding: Embedding = request.getfixturevalue(request.param)
    return embedding


def soon() -> Cancellation:
    return Cancellation(time.monotonic() + 60)


def test_an_image_of_a_webhooks_own_is_embedded_here_or_by_a_service(either: Embedding) -> None:
    assert len(PATCHES) > 2 * BATCH
    embedder = either.for_job(soon())
    (found,) = embedder.embed([Instance(OwnSource(PIXELS), PATCHES, ReadOptions())])
    assert isinstance(found, Embeddings)
    np.testing.assert_allclose(found.vectors, truth(), atol=1e-5)
    assert embedder.metadata["digest"] == f"sha256:{'0' * 64}"
    either.require_ready()


def test_what_vectors_are_made_of_is_told_of_pixels_from_here_and_of_named_ones(either: Embedding) -> None:
    data = encode(PIXELS)
    told = Extras(provenance=True)
    instances = [
        Instance(OwnSource(PIXELS), PATCHES, ReadOptions(), told),
        Instance(EncodedSource(lambda: data), PATCHES, ReadOptions(), told),
        Instance(OwnSource(PIXELS), PATCHES[:1], ReadOptions()),
    ]
    own, named, plain = either.for_job(soon()).embed(instances)
    records = [found.provenance for found in (own, named) if isinstance(found, Embeddings)]

    assert [record and record["image"]["format"] for record in records] == ["numbers", "PNG"]  # type: ignore[index]
    assert all(record and record["model"]["name"] == "poisonable" for record in records)  # type: ignore[index]
    assert isinstance(plain, Embeddings)
    assert plain.provenance is None


def test_what_a_service_can_read_is_named_to_it(either: Embedding) -> None:
    data = encode(PIXELS)
    (found,) = either.for_job(soon()).embed([Instance(EncodedSource(lambda: data), PATCHES, ReadOptions())])
    assert isinstance(found, Embeddings)
    np.testing.assert_allclose(found.vectors, truth(), atol=1e-5)


def test_an_image_that_cannot_be_read_is_a_fault_and_leaves_its_neighbours_alone(either: Embedding) -> None:
    instances = [
        Instance(OwnSource(None), PATCHES[:1], ReadOptions()),
        Instance(OwnSource(PIXELS), PATCHES[:1], ReadOptions()),
    ]
    fault, found = either.for_job(soon()).embed(instances)
    assert isinstance(fault, Fault)
    assert (fault.code, fault.description) == ("HTTP_ERROR", "The tile server is away.")
    assert isinstance(found, Embeddings)


def test_a_patch_that_the_model_refuses_is_a_fault(either: Embedding) -> None:
    poisoned = PIXELS.copy()
    poisoned[0, 0, 0] = POISON
    (fault,) = either.for_job(soon()).embed([Instance(OwnSource(poisoned), PATCHES[:3], ReadOptions())])
    assert isinstance(fault, Fault)
    assert fault.code == "IMAGE_ERROR"


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_the_end_of_a_job_ends_its_embedding(request: pytest.FixtureRequest, kind: str) -> None:
    embedding: Embedding = request.getfixturevalue(kind)
    waits = soon()
    begun = threading.Event()

    class Endless(OwnImage):
        def read(self, patches: Sequence[Patch]) -> Iterator[PatchTask]:
            def wait() -> None:
                begun.set()
                waits.stop.wait(60)
                raise Cancelled

            yield PatchTask(range(len(patches)), list, wait, lambda: False)

    class Source(OwnSource):
        def open(self, options: ReadOptions, session: ReadSession) -> OpenedImage:
            return Endless(PIXELS)

    def cancel() -> None:
        assert begun.wait(30)
        waits.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises((Abandoned, Cancelled)):
        embedding.for_job(waits).embed([Instance(Source(PIXELS), PATCHES[:1], ReadOptions())])
    canceller.join()


def test_a_service_that_is_away_fails_the_job_in_words_and_is_said_to_be_away(context: ReadContext) -> None:
    def make() -> PathserveClient:
        return PathserveClient("http://127.0.0.1:9", retry_for_s=0.1)

    with RemoteEmbedding(make, context, 1) as remote:
        remote.require_ready()  # nothing is known yet
        with pytest.raises(ServiceError) as caught:
            remote.for_job(soon()).embed([Instance(OwnSource(PIXELS), PATCHES[:1], ReadOptions())])
        assert caught.value.description == (
            "The embedding service does not embed (CONNECTION_ERROR, HTTP 0)."
        )
        with pytest.raises(ServiceError):
            remote.require_ready()


@pytest.mark.parametrize(
    "values",
    [
        {"PATHSERVE_SERVICE_URL": "ftp://host"},
        {"PATHSERVE_SERVICE_URL": "https://host", "PATHSERVE_API_KEY": "clé"},
        {"PATHSERVE_SERVICE_URL": "https://europe-west4-aiplatform.googleapis.com/v1/…/endpoints/1:predict"},
    ],
)
def test_an_address_or_a_key_that_cannot_be_used_is_a_bad_setting(
    values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file")
    with pytest.raises(SettingsError, match="PATHSERVE_SERVICE_URL"):
        client_maker(load_settings(values, {}))
