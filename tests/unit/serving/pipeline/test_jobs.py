"""How a request's images take their turns in the pools, with images that are none."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pytest

from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Patch, Sampling, UInt8Array
from dicom_io.made_of import Reading
from dicom_io.reading import PATCHES_AT_ONCE, OpenedImage, PatchTask, ReadOptions, in_chunks
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation
from model.transport.client import EncoderClient
from model.transport.local import encoder_in_process
from model.transport.stream import Abandoned
from serving.config.settings import load_settings
from serving.errors import Fault
from serving.pipeline.budget import ByteBudget
from serving.pipeline.executors import WatchedThreads
from serving.pipeline.magnification import MagnificationGuard
from serving.pipeline.outcome import Embeddings, Outcome
from serving.pipeline.run import SMALL_BYTES, Run, Workshop
from serving.pipeline.types import Extras, Instance, Item
from serving.processes.assembly import read_context
from tests.support.encoders import CornerEncoder
from tests.support.readings import plain_reading
from tests.support.service import wait_until

MEMORY = 10 * SMALL_BYTES
LOOKAHEAD = 3


def patch(number: int) -> Patch:
    return Patch(number, 0, 224, 224)


def pixels_of(patch: Patch) -> UInt8Array:
    pixels = np.zeros((224, 224, 3), np.uint8)
    pixels[0, 0] = patch.x
    return pixels


@dataclass
class Picture(OpenedImage):
    """An image whose patches show their own origin, and which notes the threads that read it."""

    memory_bytes: int = SMALL_BYTES // 8
    decodes_elsewhere: bool = False
    fetches: bool = False
    before: Callable[[], None] = lambda: None
    wait: Callable[[], None] = lambda: None
    ready: Callable[[], bool] = lambda: True
    threads: list[str] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)
    opening: Callable[[], None] = lambda: None
    origin: str | None = None
    opened: bool = False
    damaged: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    width = height = 1 << 20
    sampling = Sampling(1 << 20, 1 << 20, None, 1 << 20, 1 << 20)
    shared_key = None

    def open(self, options: ReadOptions, session: ReadSession) -> OpenedImage:
        self.opening()
        self.opened = True
        return self

    def reading(self) -> Reading:
        return plain_reading(self.sampling)

    def read(self, patches: Sequence[Patch]) -> Iterator[PatchTask]:
        for indexes in in_chunks(range(len(patches))):

            def pixels(indexes: Sequence[int] = indexes) -> list[UInt8Array]:
                self.threads.append(threading.current_thread().name)
                self.before()
                if not self.damaged.isdisjoint(patches[index].x for index in indexes):
                    raise ImageError(ImageCode.DICOM_ERROR, "damaged")
                return [pixels_of(patches[index]) for index in indexes]

            def split(indexes: Sequence[int] = indexes) -> list[PatchTask]:
                return [
                    PatchTask([index], partial(pixels, [index]), partial(self.wait_for, index), self.ready)
                    for index in indexes
                ]

            yield PatchTask(indexes, pixels, self.wait, self.ready, split=split)

    def wait_for(self, index: int) -> None:
        self.wait()
        if index in self.lost:
            raise ImageError(ImageCode.HTTP_ERROR, "lost")

    def close(self) -> None:
        assert not self.closed.is_set(), "closed once"
        self.closed.set()


class CountingThreads(WatchedThreads):
    """Counts the turns that are taken."""

    turns = 0

    def submit(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.turns += 1
        return super().submit(*args, **kwargs)


@pytest.fixture(scope="module")
def context() -> Iterator[ReadContext]:
    context = read_context(load_settings())
    yield context
    context.decoders.close()


@pytest.fixture(scope="module")
def encoder() -> Iterator[EncoderClient]:
    with encoder_in_process(CornerEncoder) as client:
        until = time.monotonic() + 10
        while client.facts is None and time.monotonic() < until:
            threading.Event().wait(0.01)
        yield client


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    workshop = Workshop(
        CountingThreads(2, "computing"), CountingThreads(2, "waiting"), ByteBudget(MEMORY, 1), LOOKAHEAD
    )
    yield workshop
    workshop.computing.shutdown()
    workshop.waiting.shutdown()


@pytest.fixture
def run(
    context: ReadContext, encoder: EncoderClient, workshop: Workshop
) -> Iterator[Callable[..., list[Outcome]]]:
    """Yield what runs requests; whatever became of them, all slots must have come back in the end."""

    def run(items: Sequence[Item], waits: Cancellation | None = None) -> list[Outcome]:
        waits = waits or Cancellation(time.monotonic() + 30)
        session = ReadSession(context, waits, RasterRegistry({}), lambda _: contextlib.nullcontext())
        patches = sum(len(item.patches) for item in items if isinstance(item, Instance))
        with contextlib.closing(encoder.open_stream(patches)) as stream:
            waits.when_cancelled(stream.abandon)
            return Run(items, stream, session, workshop, 0, MagnificationGuard()).outcomes()

    yield run
    link = encoder._link
    assert link is not None
    wait_until(lambda: link.pool.free == link.slab.slots, "all slots to come back")


def instances(pictures: Sequence[Picture], patches: int = 1) -> list[Instance]:
    """Return an instance of each picture; its patches have the numbers that follow the last one's."""
    return [
        Instance(picture, tuple(patch(n * patches + i) for i in range(patches)), ReadOptions())
        for n, picture in enumerate(pictures)
    ]


def each(items: Sequence[Instance]) -> list[Instance]:
    """Return instances whose patches may have faults of their own."""
    return [replace(item, extras=Extras(per_patch_errors=True)) for item in items]


def numbers(outcome: Outcome) -> list[int]:
    assert isinstance(outcome, Embeddings), outcome
    return [int(vector[0]) for vector in outcome.vectors]


def all_memory_is_free(workshop: Workshop) -> bool:
    return workshop.memory.try_take(MEMORY)


def test_small_images_share_turns_and_keep_their_order(
    run: Callable[..., list[Outcome]], workshop: Workshop
) -> None:
    pictures = [Picture() for _ in range(64)]
    outcomes = run(instances(pictures))
    assert [numbers(outcome) for outcome in outcomes] == [[n] for n in range(64)]
    assert isinstance(workshop.computing, CountingThreads)
    assert workshop.computing.turns == 8
    assert all(picture.closed.is_set() for picture in pictures)
    assert all_memory_is_free(workshop)


def test_few_images_leave_no_thread_idle(run: Callable[..., list[Outcome]], workshop: Workshop) -> None:
    run(instances([Picture() for _ in range(LOOKAHEAD)]))
    assert isinstance(workshop.computing, CountingThreads)
    assert workshop.computing.turns == LOOKAHEAD


@pytest.mark.parametrize(
    "large", [Picture(memory_bytes=SMALL_BYTES), Picture(decodes_elsewhere=True)], ids=["large", "elsewhere"]
)
def test_images_that_take_long_share_nothing(
    run: Callable[..., list[Outcome]], workshop: Workshop, large: Picture
) -> None:
    pictures = [
        Picture(large.memory_bytes, large.decodes_elsewhere) if n % 2 else Picture() for n in range(32)
    ]
    assert [numbers(outcome) for outcome in run(instances(pictures))] == [[n] for n in range(32)]
    pool = workshop.waiting if large.decodes_elsewhere else workshop.computing
    assert isinstance(pool, CountingThreads)
    assert pool.turns == (16 if large.decodes_elsewhere else 32)
    name = "waiting" if large.decodes_elsewhere else "computing"
    assert all(thread.startswith(name) for picture in pictures[1::2] for thread in picture.threads)
    assert all(thread.startswith("computing") for picture in pictures[::2] for thread in picture.threads)


def test_a_fault_leaves_those_alone_that_share_its_turn(run: Callable[..., list[Outcome]]) -> None:
    def damaged() -> None:
        raise ImageError(ImageCode.IMAGE_ERROR, "damaged")

    def broken() -> None:
        raise ZeroDivisionError

    pictures = [Picture(before={3: damaged, 9: broken}.get(n, lambda: None)) for n in range(32)]
    given = Fault("DICOM_PATH_ERROR", "no path")
    outcomes = run([given, *instances(pictures)])
    assert outcomes[0] == given
    faults = {n: str(o.code) for n, o in enumerate(outcomes[1:]) if isinstance(o, Fault)}
    assert faults == {3: "IMAGE_ERROR", 9: "INTERNAL_ERROR"}
    assert [numbers(o) for o in outcomes[1:] if not isinstance(o, Fault)] == [
        [n] for n in range(32) if n not in faults
    ]


@pytest.mark.parametrize("here", [True, False])
def test_a_patchs_fault_is_its_own_where_that_is_asked_and_its_slot_comes_back(
    run: Callable[..., list[Outcome]], workshop: Workshop, here: bool
) -> None:
    damaged, lost = frozenset({101, 130, 131}), frozenset({7, 49}) if not here else frozenset()
    bad = Picture(damaged=damaged, lost=lost, fetches=not here, ready=lambda: here)
    good = [Picture(), Picture(damaged=frozenset(range(200, 300)))]
    items = each(instances([good[0], bad, good[1]], patches=100))
    first, second, third = run([items[0], replace(items[1], patches=items[1].patches[:50]), items[2]])
    assert numbers(first) == list(range(100))
    assert isinstance(second, Embeddings)
    codes = {index: str(fault.code) for index, fault in second.faults.items()}
    assert codes == dict.fromkeys((1, 30, 31), "DICOM_ERROR") | dict.fromkeys(lost, "HTTP_ERROR")
    left = [index for index in range(50) if index not in codes]
    assert [int(vector[0]) for vector in second.vectors[left]] == [100 + index for index in left]
    assert np.isnan(second.vectors[list(codes)]).all()
    assert isinstance(third, Embeddings)
    assert len(third.faults) == 100
    assert all(picture.closed.is_set() for picture in (*good, bad))
    assert all_memory_is_free(workshop)


def test_an_image_all_of_whose_patches_are_refused_is_not_read(run: Callable[..., list[Outcome]]) -> None:
    picture, other = Picture(), Picture()
    small = Instance(picture, (Patch(0, 0, 7, 224), Patch(-1, 0, 224, 224)), ReadOptions())
    refused, good = run([*each([small]), *instances([other])])
    assert isinstance(refused, Embeddings)
    assert [str(refused.faults[n].code) for n in range(2)] == [
        "INCOMPATIBLE_PATCH_DIMENSIONS_ERROR", "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR",
    ]  # fmt: skip
    assert picture.threads == []
    assert picture.closed.is_set()
    assert numbers(good) == [0]


def test_an_image_that_cannot_be_judged_is_closed_and_fails_alone(
    run: Callable[..., list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> int:
        raise ZeroDivisionError

    picture, other = Picture(), Picture()
    monkeypatch.setattr(picture, "extra_frames", broken)
    failed, good = run(instances([picture, other]))
    assert isinstance(failed, Fault)
    assert failed.code == "INTERNAL_ERROR"
    assert picture.closed.is_set()
    assert numbers(good) == [1]


def test_nothing_is_said_of_vectors_that_are_none(run: Callable[..., list[Outcome]]) -> None:
    asked = Extras(provenance=True, per_patch_errors=True, patch_quality=True)
    pictures = [Picture(damaged=frozenset(range(20))), Picture(damaged=frozenset({20}))]
    none, some = run([replace(item, extras=asked) for item in instances(pictures, patches=20)])
    assert isinstance(none, Embeddings)
    assert isinstance(some, Embeddings)
    assert len(none.faults) == 20
    assert none.provenance is None
    assert some.provenance is not None
    assert some.quality is not None
    assert [*np.flatnonzero(np.isnan(some.quality).any(axis=1))] == [*some.faults] == [0]


def test_poison_costs_its_own_row(run: Callable[..., list[Outcome]]) -> None:
    (outcome,) = run(each(instances([Picture()], patches=256)))
    assert isinstance(outcome, Embeddings)
    assert [*outcome.faults] == [255]
    assert outcome.faults[255].description == "The model could not embed this patch."


def test_an_image_is_not_read_on_once_it_has_failed(run: Callable[..., list[Outcome]]) -> None:
    def damaged() -> None:
        raise ImageError(ImageCode.IMAGE_ERROR, "damaged")

    picture = Picture(before=damaged)
    (outcome,) = run(instances([picture], patches=200))
    assert isinstance(outcome, Fault)
    assert len(picture.threads) <= LOOKAHEAD + 2
    assert picture.closed.wait(10)


def test_tasks_are_waited_for_one_after_the_other(run: Callable[..., list[Outcome]]) -> None:
    arrived: list[int] = []
    here = Picture()
    far = Picture(fetches=True, wait=lambda: arrived.append(len(far.threads)), ready=lambda: False)
    near, distant = run(instances([here, far], patches=100))
    assert numbers(near) == list(range(100))
    assert numbers(distant) == list(range(100, 200))
    assert len(arrived) == -(-100 // PATCHES_AT_ONCE), "once a task"


def test_an_image_whose_bytes_do_not_come_fails_alone(run: Callable[..., list[Outcome]]) -> None:
    def lost() -> None:
        raise ImageError(ImageCode.HTTP_ERROR, "lost")

    pictures = [Picture(), Picture(fetches=True, wait=lost, ready=lambda: False), Picture()]
    first, second, third = run(instances(pictures, patches=20))
    assert numbers(first) == list(range(20))
    assert isinstance(second, Fault)
    assert numbers(third) == list(range(40, 60))


def test_small_images_that_are_here_are_done_whatever_becomes_of_one_that_is_fetched(
    run: Callable[..., list[Outcome]],
) -> None:
    waits = Cancellation(time.monotonic() + 1.5)

    def never() -> None:
        threading.Event().wait(waits.deadline - time.monotonic())
        raise ImageError(ImageCode.HTTP_ERROR, "not in time")

    far = Picture(fetches=True, wait=never, ready=lambda: False)
    outcomes = run(instances([*(Picture() for _ in range(4 * LOOKAHEAD - 1)), far]), waits)
    assert [numbers(outcome) for outcome in outcomes[:-1]] == [[n] for n in range(4 * LOOKAHEAD - 1)]
    assert isinstance(outcomes[-1], Fault)


def test_an_image_that_is_open_is_read_while_the_next_ones_are_being_opened(
    run: Callable[..., list[Outcome]],
) -> None:
    reading = threading.Event()

    def damaged() -> None:
        raise ImageError(ImageCode.IMAGE_ERROR, "damaged")

    def opening() -> None:
        if not reading.wait(10):
            raise ImageError(ImageCode.HTTP_ERROR, "waited for in vain")

    pictures = [
        Picture(before=reading.set),
        Picture(opening=damaged),
        Picture(opening=opening, origin="a store"),
        *(Picture() for _ in range(4 * LOOKAHEAD)),
    ]
    first, second, third, *_ = run(instances(pictures))
    assert numbers(first) == [0]
    assert isinstance(second, Fault)
    assert numbers(third) == [2]


def test_an_image_that_is_being_opened_is_closed_though_its_request_has_been_abandoned(
    run: Callable[..., list[Outcome]],
) -> None:
    waits, asked, answered = Cancellation(time.monotonic() + 30), threading.Event(), threading.Event()

    def opening() -> None:
        asked.set()
        assert answered.wait(30)

    def hang_up() -> None:
        assert asked.wait(30)
        waits.cancel()

    pictures = [Picture(opening=opening, origin="a store"), Picture()]
    client = threading.Thread(target=hang_up)
    client.start()
    try:
        with pytest.raises(Abandoned):
            run(instances(pictures), waits)
    finally:
        answered.set()
        client.join()
    assert pictures[0].closed.wait(10)
    assert not pictures[1].opened, "its turn never came"


def test_memory_is_given_back_when_threads_have_let_go_of_an_abandoned_request(
    run: Callable[..., list[Outcome]], workshop: Workshop
) -> None:
    waits, reading, go_on = Cancellation(time.monotonic() + 30), threading.Event(), threading.Event()

    def slow() -> None:
        reading.set()
        assert go_on.wait(30)

    pictures = [Picture(memory_bytes=SMALL_BYTES, before=slow) for _ in range(6)]

    def hang_up() -> None:
        assert reading.wait(30)
        waits.cancel()

    client = threading.Thread(target=hang_up)
    client.start()
    try:
        with pytest.raises(Abandoned):
            run(instances(pictures, patches=30), waits)
        assert not pictures[0].closed.is_set(), "a thread still reads it"
        assert not all_memory_is_free(workshop)
        assert all(picture.closed.is_set() for picture in pictures[LOOKAHEAD:] if picture.opened)
    finally:
        go_on.set()
        client.join()
    assert all(picture.closed.wait(10) for picture in pictures if picture.opened)
    workshop.memory.take(MEMORY, time.monotonic() + 10)
