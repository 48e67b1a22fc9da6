"""One request on its way: instances to images, images to patches, patches to the encoder.

The request's own thread opens images, owns the slots and talks to the encoder. Decoding and
colour run in pools shared by the worker's requests; each request has only a few tasks there at a
time, so a small request does not wait behind a large one's images. Images that a decoding helper
decodes have a pool of their own: hostile ones, which keep their thread waiting, keep no JPEG from
being decoded.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from dicom_io.errors import ImageError
from dicom_io.geometry import Patch, UInt8Array, require_inside
from dicom_io.reading import PATCHES_AT_ONCE, OpenedImage
from dicom_io.sources.session import ReadSession
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.stages import ReadStage
from dicom_io.waiting import Cancelled
from model.encoder import Vectors
from model.transport.stream import Abandoned, DeadlineExceeded, EncoderUnavailable, Stream
from serving.api.request import Instance, PredictRequest
from serving.errors import Code, Fault, ServiceError, fault_of
from serving.pipeline.budget import ByteBudget
from serving.pipeline.watched_threads import WatchedThreads

OPENED_AHEAD = 8
"""Images of a request that are being opened at the same time, each perhaps at a store."""

_FAULT = "This instance met a fault of the service; its log has the request id."

log = logging.getLogger(__name__)

R = TypeVar("R")
_Pixels = list[UInt8Array]

Outcome = Vectors | Fault
"""float32 ``[patches, dimension]`` in the order of the instance's patches, or why there is none."""


@dataclass(frozen=True, slots=True)
class Pools:
    """Threads of a worker, for all its requests.

    Attributes
    ----------
    computing:
        As many as there are cores.
    waiting:
        For images that are decoded in other processes.
    """

    computing: WatchedThreads
    waiting: WatchedThreads


class _Image:
    """An opened image on its way through the pipeline.

    Attributes
    ----------
    first:
        Index in the request of its first patch.
    chunks:
        Indexes of its patches, in the order in which they are read, a few to a chunk.
    loaded:
        The first chunk's pixels; none yet where they must be fetched first.
    """

    def __init__(self, position: int, instance: Instance, first: int, image: OpenedImage) -> None:
        self.position = position
        self.patches = instance.patches
        self.first = first
        self.image = image
        order, step = image.plan(instance.patches), image.patches_at_once
        self.chunks = deque(order[i : i + step] for i in range(0, len(order), step))
        self.loaded: Future[_Pixels | Fault] = Future()

    def patches_of(self, chunk: Sequence[int]) -> list[Patch]:
        """Return the patches of a chunk."""
        return [self.patches[index] for index in chunk]


class Run:
    """One request on its way through the pipeline."""

    def __init__(
        self,
        request: PredictRequest,
        stream: Stream,
        session: ReadSession,
        reads: int,
        lookahead: int,
        pools: Pools,
        memory: ByteBudget,
    ) -> None:
        self._items = request.items
        self._stream = stream
        self._session = session
        self._waits = session.waits
        self._deadline = session.deadline
        self._reads_left = reads
        self._lookahead = lookahead
        self._memory = memory
        self._counts = [0 if isinstance(item, Fault) else len(item.patches) for item in request.items]
        self._firsts = [0, *itertools.accumulate(self._counts)][:-1]
        self._faults: dict[int, Fault] = {}
        self._held: deque[_Image] = deque()
        alone = len(self._items) == 1 and request.patch_count <= PATCHES_AT_ONCE
        self._compute: Callable[..., Future[_Pixels | Fault]] = _run_now if alone else pools.computing.submit
        self._wait_for_helpers = pools.waiting.submit

    def outcomes(self) -> list[Outcome]:
        """Send every patch to the encoder, wait for the vectors and sort them by instance."""
        opened = self._open_all()
        upcoming = next(opened, None)
        try:
            while upcoming is not None or self._held:
                while upcoming is not None and self._start(upcoming):
                    upcoming = next(opened, None)
                image = self._held[0]
                with self._instance(image.position):
                    self._send_image(image)
                self._release(self._held.popleft())
            self._stream.wait(self._deadline)
        finally:
            opened.close()
            if upcoming is not None:
                upcoming.image.close()
            for image in self._held:
                image.loaded.cancel()
                image.loaded.add_done_callback(partial(self._abandon, image))
        return [
            self._outcome(position, first, count)
            for position, (first, count) in enumerate(zip(self._firsts, self._counts, strict=True))
        ]

    # Opening: here, or in threads that wait for stores

    def _open_all(self) -> Generator[_Image, None, None]:
        """Yield the images that could be opened, in order, while the next ones are being opened."""
        opening: deque[tuple[int, Instance, Future[OpenedImage | Fault]]] = deque()
        items = iter(_by_source(self._items))
        while True:
            while len(opening) < OPENED_AHEAD and (entry := next(items, None)) is not None:
                position, item = entry
                if isinstance(item, Fault):
                    self._faults[position] = item
                else:
                    opening.append((position, item, self._open(item)))
            if not opening:
                return
            position, item, future = opening.popleft()
            with self._instance(position):
                with self._session.measure(ReadStage.FETCH):
                    image = self._result(future)
                self._count_reads(image.extra_reads(len(item.patches)))
                yield _Image(position, item, self._firsts[position], image)

    def _count_reads(self, reads: int) -> None:
        """Count frames of resized levels against what the request may read."""
        if reads > self._reads_left:
            raise ServiceError(
                Code.TOO_MANY_PATCHES_ERROR,
                f"Reading this level at another size takes {reads} reads more than its patches, and "
                f"{self._reads_left} are left for the request; send fewer patches, or use a smaller level.",
            )
        self._reads_left -= reads

    def _open(self, instance: Instance) -> Future[OpenedImage | Fault]:
        if instance.source.remote:
            io = self._session.context.io.at(instance.source.origin)
            return io.submit(_or_fault, _open, instance, self._session)
        return _run_now(_or_fault, _open, instance, self._session)

    def _start(self, image: _Image) -> bool:
        """Begin to load an image; say no while enough are loading or there is no memory for it."""
        if len(self._held) >= self._lookahead:
            return False
        amount = image.image.memory_bytes
        if not self._memory.try_take(amount):
            if self._held:
                return False
            self._stream.flush()
            self._memory.take(amount, self._deadline)
        image.loaded = self._submit(image, self._load, image)
        self._held.append(image)
        return True

    def _release(self, image: _Image) -> None:
        image.image.close()
        self._memory.give_back(image.image.memory_bytes)

    def _abandon(self, image: _Image, _: Future[_Pixels | Fault]) -> None:
        self._release(image)

    # Reading: in the pools

    def _submit(
        self, image: _Image, function: Callable[..., _Pixels], *arguments: object
    ) -> Future[_Pixels | Fault]:
        submit = self._wait_for_helpers if image.image.decodes_elsewhere else self._compute
        return submit(_or_fault, function, *arguments)

    def _load(self, image: _Image) -> _Pixels:
        image.image.load()
        return [] if image.image.remote else self._read(image.image, image.patches_of(image.chunks[0]))

    @staticmethod
    def _read(image: OpenedImage, patches: list[Patch]) -> _Pixels:
        return [image.read(patch) for patch in patches]

    # Sending: in the request's thread

    def _send_image(self, image: _Image) -> None:
        reading: deque[tuple[Sequence[int], Future[_Pixels | Fault]]] = deque()
        if first := self._result(image.loaded):
            self._send(image, image.chunks.popleft(), first)
        try:
            while image.chunks or reading:
                while reading and (
                    reading[0][1].done() or not image.chunks or len(reading) > self._lookahead
                ):
                    chunk, future = reading.popleft()
                    self._send(image, chunk, self._result(future))
                if image.chunks:
                    chunk = image.chunks.popleft()
                    patches = image.patches_of(chunk)
                    self._fetch(image, patches)
                    reading.append((chunk, self._submit(image, self._read, image.image, patches)))
        finally:
            for _, future in reading:
                future.cancel()

    def _fetch(self, image: _Image, patches: list[Patch]) -> None:
        if image.image.remote:
            self._stream.flush()
            with self._session.measure(ReadStage.FETCH):
                image.image.fetch(patches)

    def _send(self, image: _Image, chunk: Sequence[int], patches: _Pixels) -> None:
        sent = 0
        while sent < len(patches):
            slots = self._stream.acquire(len(patches) - sent, self._deadline)
            for slot, pixels in zip(slots, patches[sent:], strict=False):
                self._stream.pixels(slot)[...] = pixels
            self._stream.add({slot: image.first + chunk[sent + i] for i, slot in enumerate(slots)})
            sent += len(slots)

    def _result(self, future: Future[R | Fault]) -> R:
        if not future.done():
            self._stream.flush()  # while this thread has nothing to do, the encoder shall have
        try:
            result = self._waits.result(future)
        except Cancelled:
            raise Abandoned from None
        except TimeoutError:
            raise DeadlineExceeded from None
        if isinstance(result, Fault):
            raise ServiceError.of(result)
        return result

    # Outcomes

    @contextlib.contextmanager
    def _instance(self, position: int) -> Iterator[None]:
        """Let a fault inside a ``with`` block fail one instance, not the request."""
        try:
            yield
        except ServiceError as error:
            self._faults[position] = error.fault
        except ImageError as error:
            self._faults[position] = fault_of(error.fault)
        except Cancelled:
            raise Abandoned from None
        except (EncoderUnavailable, DeadlineExceeded, Abandoned):
            raise
        except Exception:
            log.exception("an instance failed unexpectedly")
            self._faults[position] = Fault(Code.INTERNAL_ERROR, _FAULT)

    def _outcome(self, position: int, first: int, count: int) -> Outcome:
        if position in self._faults:
            return self._faults[position]
        refused = sorted(index - first for index in self._stream.failed if first <= index < first + count)
        if refused:
            return Fault(
                Code.IMAGE_ERROR, f"The model could not embed patch_coordinates[{refused[0]}] of this image."
            )
        vectors = self._stream.vectors[first : first + count]
        if np.isnan(vectors).any():  # the encoder gives none: such a row was never written
            log.error("a patch was not embedded")
            return Fault(Code.INTERNAL_ERROR, _FAULT)
        return vectors


def _shared_key(item: Instance | Fault) -> Hashable | None:
    return None if isinstance(item, Fault) else item.source.shared_key


def shared_images(request: PredictRequest) -> RasterRegistry:
    """Return a registry of the images that several of a request's instances name."""
    return RasterRegistry(Counter(key for item in request.items if (key := _shared_key(item)) is not None))


def _by_source(items: Sequence[Instance | Fault]) -> list[tuple[int, Instance | Fault]]:
    """Return the items with their positions, those that share an image one after the other."""
    first: dict[Hashable, int] = {}
    order = [first.setdefault(_shared_key(item) or ("own", index), index) for index, item in enumerate(items)]
    return [(index, items[index]) for index in sorted(range(len(items)), key=order.__getitem__)]


def _run_now(function: Callable[..., R], *args: object) -> Future[R]:
    """Do in this thread what a pool would do in another: a lone patch has nobody to overlap with."""
    future: Future[R] = Future()
    future.set_result(function(*args))
    return future


def _or_fault(function: Callable[..., R], *args: object) -> R | Fault:
    """Return what a function returns, or the fault that it raises.

    Tasks give their faults as values: an exception in a future holds the frames that it went through,
    one of which holds the future, and this circle would keep an image's bytes until the garbage
    collector comes by.
    """
    try:
        return function(*args)
    except ImageError as error:
        return fault_of(error.fault)
    except Exception:
        log.exception("an instance failed unexpectedly")
        return Fault(Code.INTERNAL_ERROR, _FAULT)


def _open(instance: Instance, session: ReadSession) -> OpenedImage:
    image = instance.source.open(instance.options, session)
    if instance.options.require_inside:
        try:
            for patch in instance.patches:
                require_inside(patch, image.width, image.height)
        except ImageError:
            image.close()
            raise
    return image
