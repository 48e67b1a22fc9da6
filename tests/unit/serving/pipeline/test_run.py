"""The pipeline in this process, with an encoder that is no model."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence

import pytest

from dicom_io.geometry import Patch
from dicom_io.reading import OpenedImage, ReadOptions
from dicom_io.sources.encoded import EncodedSource
from dicom_io.sources.raster import RasterImage
from dicom_io.sources.session import ReadSession, Source
from dicom_io.sources.shared_raster import SharedRaster
from dicom_io.waiting import Cancellation
from model.transport.local import encoder_in_process
from model.transport.stream import Abandoned
from serving.config.settings import load_settings
from serving.errors import Fault
from serving.pipeline.outcome import Embeddings, Outcome
from serving.pipeline.predictor import Predictor
from serving.pipeline.types import Instance
from serving.processes.assembly import read_context
from serving.telemetry.request_record import StageTimes
from tests.support.encoders import CornerEncoder
from tests.support.tissue import encode, tissue

PATCH = (Patch(0, 0, 224, 224),)
TWENTY_MEGABYTES = 20 << 20


@pytest.fixture
def predictor() -> Iterator[Predictor]:
    context = read_context(load_settings())
    with encoder_in_process(CornerEncoder) as client:
        until = time.monotonic() + 10
        while client.facts is None and time.monotonic() < until:
            threading.Event().wait(0.01)
        yield Predictor(client, context, threads=2, max_reads=4000)
    context.decoders.close()


def damaged_inside() -> bytes:
    """Return 20 MB that begin as a PNG image does and go on as no image does."""
    image = encode(tissue(300, 300))
    return image[: len(image) // 2].ljust(TWENTY_MEGABYTES, b"\x55")


def damaged_outside() -> bytes:
    return b"no image at all".ljust(TWENTY_MEGABYTES, b"\x55")


def read_outside() -> bytes:
    """Return 20 MB of which the header can be read; no pixel is, as its patch is not in it."""
    return encode(tissue(100, 100)).ljust(TWENTY_MEGABYTES, b"\x55")


class _Fetched:
    """A source that gets its bytes from elsewhere when it is opened."""

    shared_key = None

    def __init__(self, fetch: Callable[[], bytes], *, remote: bool = False) -> None:
        self._fetch = fetch
        self.origin = "a store" if remote else None

    def open(self, options: ReadOptions, session: ReadSession) -> OpenedImage:
        context = session.context
        return RasterImage(
            SharedRaster(self._fetch, context.decoders, context.max_image_pixels), options, session
        )


class _Inlined:
    """Bytes that are let go of when they are asked for, as a request's are."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __call__(self) -> bytes:
        data, self._data = self._data, b""
        return data


def instance(source: Source) -> Instance:
    return Instance(source, PATCH, ReadOptions())


def predict(predictor: Predictor, items: Sequence[Instance], waits: Cancellation) -> list[Outcome]:
    return predictor.predict(items, waits, StageTimes()).outcomes


@pytest.mark.parametrize("damaged", [damaged_inside, damaged_outside, read_outside])
@pytest.mark.parametrize("remote", [False, True])
def test_a_failed_instance_of_20_megabytes_holds_nothing_while_its_request_goes_on(
    predictor: Predictor, damaged: Callable[[], bytes], remote: bool
) -> None:
    png = encode(tissue(224, 224))
    held: list[int] = []

    def last() -> bytes:
        held.append(tracemalloc.get_traced_memory()[0])
        return png

    count = 5
    failing: list[Source] = [
        _Fetched(damaged, remote=True) if remote else EncodedSource(_Inlined(damaged())) for _ in range(count)
    ]
    # Images are opened some ahead of their turn: what fails must be over when the last one is opened.
    between = [_Fetched(lambda: png, remote=True) for _ in range(20)]
    items = tuple(instance(source) for source in [*failing, *between, _Fetched(last)])
    gc.disable()  # what only the collector finds stays for as long as it likes
    tracemalloc.start()
    try:
        failing = []
        before = tracemalloc.get_traced_memory()[0]
        outcomes = predict(predictor, items, Cancellation(time.monotonic() + 60))
    finally:
        tracemalloc.stop()
        gc.enable()
    assert all(isinstance(outcome, Fault) for outcome in outcomes[:count])
    assert all(isinstance(outcome, Embeddings) for outcome in outcomes[count:])
    assert held[0] - before < count * 1_000_000 + 5_000_000, "the images that are open are the rest"


def test_patches_that_are_not_of_the_models_size_fail_alone_and_keep_no_slot(predictor: Predictor) -> None:
    source = EncodedSource(lambda: encode(tissue(600, 600)))
    wrong = Instance(source, (Patch(0, 0, 256, 256),) * 64, ReadOptions())
    for _ in range(10):
        refused, good = predict(predictor, [wrong, instance(source)], Cancellation(time.monotonic() + 30))
        assert isinstance(refused, Fault)
        assert refused.code == "INCOMPATIBLE_PATCH_DIMENSIONS_ERROR"
        assert isinstance(good, Embeddings)


def test_a_request_whose_client_hangs_up_lets_go_of_its_turn_while_a_store_is_slow(
    predictor: Predictor,
) -> None:
    asked, answered = threading.Event(), threading.Event()
    waits = Cancellation(time.monotonic() + 30)

    def fetch() -> bytes:
        asked.set()
        answered.wait(30)
        return b""

    def hang_up() -> None:
        asked.wait(30)
        waits.cancel()

    client = threading.Thread(target=hang_up)
    client.start()
    try:
        with pytest.raises(Abandoned):
            predict(predictor, [instance(_Fetched(fetch, remote=True))], waits)
    finally:
        answered.set()
        client.join()
    png = encode(tissue(224, 224))
    (outcome,) = predict(
        predictor, [instance(EncodedSource(lambda: png))], Cancellation(time.monotonic() + 30)
    )
    assert isinstance(outcome, Embeddings)
