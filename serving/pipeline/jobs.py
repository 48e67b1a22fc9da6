"""Jobs: groups of patches that are read in one turn of a pool, to slots that are handed over together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from dicom_io.reading import PatchTask
from model.transport.stream import Stream
from serving.errors import Fault
from serving.pipeline.faults import or_fault
from serving.pipeline.opening import Opened

Part = tuple[Opened, PatchTask]
Found = list[tuple[int, Fault]]
"""Positions of instances, and what was found wrong with them."""


@dataclass(frozen=True, slots=True)
class Job:
    """Tasks that take one turn in a pool, the slots for their patches, and what is found wrong by its end."""

    slots: list[int]
    found: Future[Found]


def turns_of(reading: Sequence[tuple[Opened, Iterator[PatchTask]]]) -> Iterator[Sequence[Part]]:
    """Yield tasks that share a job: first the first ones of all images, then the others one by one."""
    yield [(opened, task) for opened, tasks in reading for task in itertools.islice(tasks, 1)]
    for opened, tasks in reading:
        yield from ([(opened, task)] for task in tasks)


def read_to_slots(parts: Sequence[Part], slots: Sequence[int], stream: Stream) -> Found:
    """Read tasks into slots, in a pool, and hand those over; the fault of one leaves the others alone.

    Raises
    ------
    EncoderUnavailable
    """
    found: Found = []
    ready: dict[int, int] = {}
    left = iter(slots)
    try:
        for opened, task in parts:
            own = list(itertools.islice(left, len(task.indexes)))
            fault = or_fault(partial(task.write, [stream.pixels(slot) for slot in own]))
            if fault is None:
                ready.update(zip(own, (opened.first + index for index in task.indexes), strict=True))
            else:
                found.append((opened.position, fault))
    except BaseException:
        stream.release(slots)
        raise
    if found:
        stream.release([slot for slot in slots if slot not in ready])
    stream.submit(ready)
    return found


def when_done(futures: Sequence[Future[Found]], function: Callable[[], None]) -> None:
    """Call a function when all futures are done: now, or in the thread that finishes the last one."""
    if not futures:
        function()
    else:
        futures[0].add_done_callback(lambda _: when_done(futures[1:], function))
