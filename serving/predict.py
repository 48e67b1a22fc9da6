"""The pipeline of one request: instances to images, images to patches, patches to vectors.

The request's own thread opens images, owns the slots and talks to the encoder. Decoding and
colour run in a pool shared by the worker's requests; each request has only a few tasks there at a
time, so a small request does not wait behind a large one's images.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

from dicom_io.patches import Patch, UInt8Array, require_inside
from dicom_io.source import OpenedImage, ReadContext
from model.client import EncoderClient
from model.encoder import EncoderFacts, Vectors
from model.link import DeadlineExceeded, EncoderUnavailable, Stream
from serving.admission import ByteBudget
from serving.errors import Code, ServiceError, unavailable
from serving.request import Instance, PredictRequest
from serving.telemetry import StageTimes

CHUNK = 8
"""Patches that one task of the pool reads."""

_MEGABYTE = 1_000_000
_FREE_IMAGE_BYTES = 8 * _MEGABYTE

log = logging.getLogger(__name__)

Outcome = Vectors | ServiceError
"""float32 ``[patches, dimension]`` in the order of the instance's patches, or why there is none."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """One outcome for each instance, in the order of the request, and the encoder that made them."""

    outcomes: list[Outcome]
    facts: EncoderFacts


class Predictor:
    """Runs requests against one encoder.

    Parameters
    ----------
    threads:
        Threads that decode, for all requests together; as many as there are cores.
    """

    def __init__(self, encoder: EncoderClient, context: ReadContext, threads: int) -> None:
        self._encoder = encoder
        self._context = context
        self._lookahead = threads + 1
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        # Room for the largest image allowed: decoded and resized, four bytes a pixel.
        self._memory = ByteBudget(8 * context.max_image_pixels, free_below=_FREE_IMAGE_BYTES)

    def predict(self, request: PredictRequest, deadline: float, stages: StageTimes) -> Predictions:
        """Embed all patches of a request.

        Parameters
        ----------
        deadline:
            ``time.monotonic()`` seconds.

        Raises
        ------
        ServiceError
            SERVICE_UNAVAILABLE_ERROR when the encoder is down or the deadline passes; faults of single
            instances are outcomes.
        """
        stream: Stream | None = None
        try:
            stream = self._encoder.open_stream(request.patch_count)
            run = _Run(request, stream, deadline, stages, self._lookahead, self._pool, self._memory)
            outcomes = run.outcomes(self._context)
            stages.add("queue", stream.queue_s)
            stages.add("encode", stream.encode_s)
            return Predictions(outcomes, stream.facts)
        except EncoderUnavailable as error:
            raise unavailable(
                "The encoder is starting or restarting; try again soon.", retry_after_s=5
            ) from error
        except DeadlineExceeded as error:
            raise unavailable(
                "The request did not finish within this service's time limit; send fewer patches at once."
            ) from error
        finally:
            if stream is not None:
                stream.close()


class _Image:
    """An opened image on its way through the pool."""

    def __init__(self, position: int, instance: Instance, first: int, image: OpenedImage) -> None:
        self.position = position
        self.patches = instance.patches
        self.first = first
        self.image = image
        self.loaded: Future[list[UInt8Array]] = Future()


class _Run:
    """One request on its way through the pipeline."""

    def __init__(
        self,
        request: PredictRequest,
        stream: Stream,
        deadline: float,
        stages: StageTimes,
        lookahead: int,
        pool: ThreadPoolExecutor,
        memory: ByteBudget,
    ) -> None:
        self._items = request.items
        self._stream = stream
        self._deadline = deadline
        self._stages = stages
        self._lookahead = lookahead
        self._memory = memory
        self._counts = [0 if isinstance(item, ServiceError) else len(item.patches) for item in request.items]
        self._firsts = [0, *itertools.accumulate(self._counts)][:-1]
        self._errors: dict[int, ServiceError] = {}
        self._held: deque[_Image] = deque()
        alone = len(self._items) == 1 and request.patch_count <= CHUNK
        self._submit: Callable[..., Future[list[UInt8Array]]] = _run_now if alone else pool.submit

    def outcomes(self, context: ReadContext) -> list[Outcome]:
        """Send every patch to the encoder, wait for the vectors and sort them by instance."""
        opened = self._open_all(context)
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
            for image in self._held:
                image.loaded.cancel()
                image.loaded.add_done_callback(partial(self._abandon, image))
        return [
            self._outcome(position, first, count)
            for position, (first, count) in enumerate(zip(self._firsts, self._counts, strict=True))
        ]

    # Opening: in the request's thread

    def _open_all(self, context: ReadContext) -> Iterator[_Image]:
        for position, item in enumerate(self._items):
            if isinstance(item, ServiceError):
                self._errors[position] = item
                continue
            with self._instance(position), self._stages.measure("fetch"):
                yield _Image(position, item, self._firsts[position], _open(item, context))

    def _start(self, image: _Image) -> bool:
        """Begin to load an image; say no while enough are loading or there is no memory for it."""
        if len(self._held) >= self._lookahead:
            return False
        amount = image.image.memory_bytes
        if not self._memory.try_take(amount):
            if self._held:
                return False
            self._memory.take(amount, self._deadline)
        image.loaded = self._submit(self._load, image)
        self._held.append(image)
        return True

    def _release(self, image: _Image) -> None:
        self._memory.give_back(image.image.memory_bytes)

    def _abandon(self, image: _Image, _: Future[list[UInt8Array]]) -> None:
        self._release(image)

    # Reading: in the pool

    def _load(self, image: _Image) -> list[UInt8Array]:
        with self._stages.measure("decode"):
            image.image.load()
        return self._read(image.image, image.patches[:CHUNK])

    def _read(self, image: OpenedImage, patches: tuple[Patch, ...]) -> list[UInt8Array]:
        with self._stages.measure("colour"):
            return [image.read(patch) for patch in patches]

    # Sending: in the request's thread

    def _send_image(self, image: _Image) -> None:
        self._send(image.first, self._result(image.loaded))
        chunks: deque[tuple[int, Future[list[UInt8Array]]]] = deque()
        try:
            for start in range(CHUNK, len(image.patches), CHUNK):
                patches = image.patches[start : start + CHUNK]
                chunks.append((image.first + start, self._submit(self._read, image.image, patches)))
                if len(chunks) > self._lookahead:
                    self._send_chunk(*chunks.popleft())
            while chunks:
                self._send_chunk(*chunks.popleft())
        finally:
            for _, future in chunks:
                future.cancel()

    def _send_chunk(self, first: int, future: Future[list[UInt8Array]]) -> None:
        self._send(first, self._result(future))

    def _send(self, first: int, patches: list[UInt8Array]) -> None:
        sent = 0
        while sent < len(patches):
            slots = self._stream.acquire(len(patches) - sent, self._deadline)
            for slot, pixels in zip(slots, patches[sent:], strict=False):
                self._stream.pixels(slot)[...] = pixels
            self._stream.submit({slot: first + sent + i for i, slot in enumerate(slots)})
            sent += len(slots)

    def _result(self, future: Future[list[UInt8Array]]) -> list[UInt8Array]:
        if not wait([future], max(0.0, self._deadline - time.monotonic())).done:
            raise DeadlineExceeded
        return future.result()

    # Outcomes

    @contextlib.contextmanager
    def _instance(self, position: int) -> Iterator[None]:
        """Let a fault inside a ``with`` block fail one instance, not the request."""
        try:
            yield
        except ServiceError as error:
            self._errors[position] = error
        except (EncoderUnavailable, DeadlineExceeded):
            raise
        except Exception:
            log.exception("an instance failed unexpectedly")
            self._errors[position] = ServiceError(
                Code.INTERNAL_ERROR, "This instance met a fault of the service; its log has the request id."
            )

    def _outcome(self, position: int, first: int, count: int) -> Outcome:
        if position in self._errors:
            return self._errors[position]
        refused = sorted(index - first for index in self._stream.failed if first <= index < first + count)
        if refused:
            return ServiceError(
                Code.IMAGE_ERROR, f"The model could not embed patch_coordinates[{refused[0]}] of this image."
            )
        return self._stream.vectors[first : first + count]


def _run_now(function: Callable[..., list[UInt8Array]], *args: object) -> Future[list[UInt8Array]]:
    """Do in this thread what a pool would do in another: a lone patch has nobody to overlap with."""
    future: Future[list[UInt8Array]] = Future()
    try:
        future.set_result(function(*args))
    except Exception as error:
        future.set_exception(error)
    return future


def _open(instance: Instance, context: ReadContext) -> OpenedImage:
    image = instance.source.open(instance.options, context)
    if instance.options.require_inside:
        for patch in instance.patches:
            require_inside(patch, image.width, image.height)
    return image
