"""One request on its way: instances to images, images to patches, patches to the encoder.

The request's own thread opens images, waits for their bytes and for free slots, and begins jobs. A job is a
group of patches and as many slots: in a pool shared by the worker's requests it decodes them, to where the
encoder will read them, and hands the group over at once. So batches fill because work is grouped, and nobody
has to wake up in between. Each request has only a few jobs at a time, so a small request does not wait behind
a large one's images. Images that a decoding helper decodes have a pool of their own: hostile ones, which keep
their thread waiting, keep no JPEG from being decoded.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from dicom_io.made_of import Reading
from dicom_io.quality.measures import Measure
from dicom_io.reading import PATCHES_AT_ONCE
from dicom_io.sources.session import ReadSession
from model.transport.stream import Stream
from serving.errors import Code, Fault
from serving.pipeline.budget import ByteBudget
from serving.pipeline.executors import InlineExecutor, WatchedThreads
from serving.pipeline.faults import UNEXPECTED, Faults
from serving.pipeline.jobs import Found, Job, Part, read_to_slots, turns_of, when_done
from serving.pipeline.magnification import MagnificationGuard
from serving.pipeline.opening import Opened, OpenedImages
from serving.pipeline.outcome import Embeddings, MagnificationWarning, Outcome
from serving.pipeline.provenance import provenance
from serving.pipeline.types import Instance, Item, patch_count
from serving.pipeline.waits import Waits

SMALL_BYTES = 8_000_000
"""Memory, at most, of images that share a job: sixteen JPEGs of one patch each have 6.7 MB."""

ALONE = 8
"""Patches, at most, of one image that are read in the request's own thread, without trips to another."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the requests of a worker share.

    Attributes
    ----------
    computing:
        As many threads as there are cores.
    waiting:
        Threads for images that are decoded in other processes.
    memory:
        For the images that are being read.
    lookahead:
        Images of a request, or groups of small ones, that are being read at the same time.
    """

    computing: WatchedThreads
    waiting: WatchedThreads
    memory: ByteBudget
    lookahead: int


@dataclass(slots=True)
class _Batch:
    """Images that memory is held for: one, or several small ones whose tasks share a job.

    Attributes
    ----------
    turns:
        Tasks that have not been given to a pool yet, as they are to be run together.
    running:
        Jobs in a pool, in their order.
    dropped:
        What may still be running of jobs that nobody wants any more.
    """

    images: list[Opened]
    turns: Iterator[Sequence[Part]] = field(default_factory=lambda: iter(()))
    running: deque[Job] = field(default_factory=deque)
    dropped: list[Future[Found]] = field(default_factory=list)


class Run:
    """One request on its way through the pipeline.

    Parameters
    ----------
    extra_frames:
        Frames beyond one a patch that the request may have decoded.
    guard:
        Judges the images' magnification.
    """

    def __init__(
        self,
        items: Sequence[Item],
        stream: Stream,
        session: ReadSession,
        workshop: Workshop,
        extra_frames: int,
        guard: MagnificationGuard,
    ) -> None:
        self._items = items
        self._stream = stream
        self._workshop = workshop
        self._faults, self._patch_faults = Faults(), Faults()
        self._waits = Waits(session.waits)
        self._opened = OpenedImages(
            items, session, self._waits, self._faults, self._patch_faults, extra_frames, guard
        )
        self._held: deque[_Batch] = deque()
        self._readings: dict[int, Reading] = {}
        self._warnings: dict[int, MagnificationWarning] = {}
        patches = patch_count(items)
        measured = any(isinstance(item, Instance) and item.extras.patch_quality for item in items)
        self._quality = np.full((patches, len(Measure)), np.nan, np.float32) if measured else None
        # Sharing jobs saves the trips between threads, but no thread may be left idle for it.
        self._share = max(1, min(PATCHES_AT_ONCE, patches // workshop.lookahead))
        alone = len(items) == 1 and patches <= ALONE
        self._computing: Executor = InlineExecutor() if alone else workshop.computing

    def outcomes(self) -> list[Outcome]:
        """Send every patch to the encoder, wait for the vectors and sort them by instance.

        Raises
        ------
        Abandoned, DeadlineExceeded, EncoderUnavailable
        ServiceError
            SERVICE_UNAVAILABLE_ERROR when there was no memory for an image in time.
        """
        try:
            while True:
                while self._begin():
                    pass
                if not self._held:
                    break
                self._finish(self._held[0])
                self._note(self._held[0])
                self._release(self._held.popleft())
            self._stream.wait(self._waits.deadline)
        finally:
            self._opened.close()
            for batch in self._held:
                self._drop(batch)
                self._release(batch)
        return self._by_instance()

    # Holding images

    def _begin(self) -> bool:
        """Begin to read the next images; return whether there are any, and there is room for them."""
        if len(self._held) >= self._workshop.lookahead or (opened := self._opened.head()) is None:
            return False
        if not self._take_memory(opened):
            return False
        batch = _Batch([self._opened.take()])
        self._held.append(batch)  # at once, so that its memory is given back whatever happens
        self._fill(batch)
        reading = []
        for opened in batch.images:
            with self._faults.of([opened.position]):
                reading.append((opened, opened.image.read(opened.patches)))
        turns = turns_of(reading)
        first = next(turns)
        if first and all(part.task.ready() for part in first):
            # All images that are held decode at the same time, if their bytes are here.
            batch.running.append(self._submit(first))
            batch.turns = turns
        else:
            batch.turns = itertools.chain([first], turns)
        return True

    def _take_memory(self, opened: Opened) -> bool:
        memory, amount = self._workshop.memory, opened.image.memory_bytes
        if not memory.try_take(amount):
            if self._held:
                return False  # two requests that hold some and wait for more would never end
            memory.take(amount, self._waits.deadline)
        return True

    def _fill(self, batch: _Batch) -> None:
        """Add the next small images to one that is small itself, as far as they are here."""
        opened, patches, held = batch.images[0], 0, 0
        while not (opened.image.decodes_elsewhere or opened.image.fetches):
            patches += len(opened.patches)
            held += opened.image.memory_bytes
            if patches >= self._share or not self._opened.is_here or (more := self._opened.head()) is None:
                return
            if (
                patches + len(more.patches) > self._share
                or held + more.image.memory_bytes > SMALL_BYTES
                or more.image.decodes_elsewhere
                or more.image.fetches
                or not self._workshop.memory.try_take(more.image.memory_bytes)
            ):
                return
            batch.images.append(opened := self._opened.take())

    def _drop(self, batch: _Batch) -> None:
        """Give up a batch's jobs: those that have not begun never will."""
        for job in batch.running:
            if job.found.cancel():
                self._stream.release(job.slots)
            else:
                batch.dropped.append(job.found)
        batch.running.clear()

    def _release(self, batch: _Batch) -> None:
        """Let go of a batch's images, once no thread reads them any more."""
        when_done(batch.dropped, partial(self._close, batch.images))

    def _close(self, images: Sequence[Opened]) -> None:
        for opened in images:
            opened.image.close()
            self._workshop.memory.give_back(opened.image.memory_bytes)

    # Reading, in the pools

    def _finish(self, batch: _Batch) -> None:
        """Read what is left of a batch."""
        running = batch.running
        for turn in batch.turns:
            while running and (running[0].found.done() or len(running) > self._workshop.lookahead):
                self._await_first(running)
            if all(opened.position in self._faults for opened in batch.images):
                self._drop(batch)
                return
            if parts := [part for part in turn if self._waited_for(part)]:
                running.append(self._submit(parts))
        while running:
            self._await_first(running)

    def _note(self, batch: _Batch) -> None:
        """Keep what is to be said of images that have been read; ask for provenance where it is wanted."""
        for opened in batch.images:
            if opened.magnification is not None:
                self._warnings[opened.position] = opened.magnification
            if opened.instance.extras.provenance and opened.position not in self._faults:
                with self._faults.of([opened.position]):
                    self._readings[opened.position] = self._waits.reading_of(opened.image)

    def _waited_for(self, part: Part) -> bool:
        """Wait for what a part is read from; return whether it can be read."""
        position = part.opened.position
        if position in self._faults:
            return False
        faults, at = (self._patch_faults, part.indexes[0]) if part.alone else (self._faults, position)
        with faults.of([at]):
            self._waits.until_ready(part.task)
        return at not in faults

    def _submit(self, parts: Sequence[Part]) -> Job:
        """Begin a job as soon as there are slots for it; those of earlier ones come back by themselves."""
        slots = self._stream.acquire(sum(len(part.task.indexes) for part in parts), self._waits.deadline)
        elsewhere = any(part.opened.image.decodes_elsewhere for part in parts)
        pool = self._workshop.waiting if elsewhere else self._computing
        return Job(slots, pool.submit(read_to_slots, parts, slots, self._stream, self._quality))

    def _await_first(self, running: deque[Job]) -> None:
        found = self._waits.result(running[0].found)
        running.popleft()  # not before: what is still running must be known when a wait is given up
        for part, fault in found:
            if part.alone:
                self._patch_faults[part.indexes[0]] = fault
            else:
                self._faults.setdefault(part.opened.position, fault)

    # Outcomes

    def _by_instance(self) -> list[Outcome]:
        outcomes, first = list[Outcome](), 0
        # The encoder gives no NaN: such a row was never written.
        missing = np.asarray(np.isnan(self._stream.vectors).any(axis=1))
        for position, item in enumerate(self._items):
            count = patch_count([item])
            rows = range(first, first + count)
            fault = item if isinstance(item, Fault) else self._faults.get(position)
            outcomes.append(fault or self._outcome(position, item, rows, missing))
            first += count
        return outcomes

    def _outcome(self, position: int, item: Item, rows: range, missing: npt.NDArray[np.bool_]) -> Outcome:
        assert isinstance(item, Instance)  # a fault is its own outcome
        found, faults = slice(rows.start, rows.stop), dict[int, Fault]()
        if item.extras.per_patch_errors:
            faults = self._faults_of_patches(rows, missing)
        elif refused := [index for index in self._stream.failed if index in rows]:
            return _refused(min(refused) - rows.start)
        elif missing[found].any():
            log.error("a patch was not embedded")
            return UNEXPECTED
        quality = self._quality[found] if self._quality is not None and item.extras.patch_quality else None
        reading = self._readings.get(position)
        record = None if reading is None else provenance(reading, self._stream.facts)
        warning = self._warnings.get(position)
        return Embeddings(self._stream.vectors[found], faults, quality, record, warning)

    def _faults_of_patches(self, rows: range, missing: npt.NDArray[np.bool_]) -> dict[int, Fault]:
        faults: dict[int, Fault] = {}
        for index in np.flatnonzero(missing[rows.start : rows.stop]).tolist():
            if (row := rows.start + index) in self._patch_faults:
                faults[index] = self._patch_faults[row]
            elif row in self._stream.failed:
                faults[index] = _refused(index)
            else:
                log.error("a patch was not embedded")
                faults[index] = UNEXPECTED
        return faults


def _refused(index: int) -> Fault:
    return Fault(Code.IMAGE_ERROR, f"The model could not embed patch_coordinates[{index}] of this image.")
