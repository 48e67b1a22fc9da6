"""Jobs: groups of patches that are read in one turn of a pool, to slots that are handed over together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from dicom_io.quality.patch import measure
from dicom_io.reading import PatchTask
from model.transport.stream import Stream
from serving.errors import Fault
from serving.pipeline.faults import or_fault
from serving.pipeline.opening import Opened


@dataclass(frozen=True, slots=True)
class Part:
    """A task of an image.

    Attributes
    ----------
    alone:
        Whether what is wrong with it is wrong with its one patch alone, not with the whole image.
    """

    opened: Opened
    task: PatchTask
    alone: bool = False

    @property
    def indexes(self) -> list[int]:
        """Of its patches, in the request."""
        return [self.opened.indexes[index] for index in self.task.indexes]


Found = list[tuple[Part, Fault]]
"""What was found wrong, and with what."""


@dataclass(frozen=True, slots=True)
class Job:
    """Tasks that take one turn in a pool, the slots for their patches, and what is found wrong by its end."""

    slots: list[int]
    found: Future[Found]


def turns_of(reading: Sequence[tuple[Opened, Iterator[PatchTask]]]) -> Iterator[Sequence[Part]]:
    """Yield tasks that share a job: first the first ones of all images, then the others one by one."""
    first = ((opened, task) for opened, tasks in reading for task in itertools.islice(tasks, 1))
    yield [part for opened, task in first for part in _parts(opened, task)]
    for opened, tasks in reading:
        yield from (_parts(opened, task) for task in tasks)


def _parts(opened: Opened, task: PatchTask) -> list[Part]:
    """Return a task, or tasks of a patch each where one may fail without the others."""
    if opened.instance.extras.per_patch_errors and task.split is not None:
        return [Part(opened, one, alone=True) for one in task.split()]
    return [Part(opened, task)]


Quality = npt.NDArray[np.float32]
"""float32 ``[patches, measures]`` of a request, NaN where none has been measured; each job writes its own."""


def read_to_slots(
    parts: Sequence[Part], slots: Sequence[int], stream: Stream, quality: Quality | None = None
) -> Found:
    """Read tasks into slots, in a pool, and hand those over; the fault of one leaves the others alone.

    Parameters
    ----------
    quality:
        Where to write the quality of patches for which it is wanted; ``None`` where it is for none.

    Raises
    ------
    EncoderUnavailable
    """
    found: Found = []
    ready: dict[int, int] = {}
    left = iter(slots)
    try:
        for part in parts:
            own = list(itertools.islice(left, len(part.task.indexes)))
            fault = or_fault(partial(part.task.write, [stream.pixels(slot) for slot in own]))
            if fault is None:
                ready.update(zip(own, part.indexes, strict=True))
            else:
                found.append((part, fault))
        if quality is not None:
            wanted = {
                index for part in parts if part.opened.instance.extras.patch_quality for index in part.indexes
            }
            _measure(stream, {slot: index for slot, index in ready.items() if index in wanted}, quality)
    except BaseException:
        stream.release(slots)
        raise
    if found:
        stream.release([slot for slot in slots if slot not in ready])
    stream.submit(ready)
    return found


def _measure(stream: Stream, slots: Mapping[int, int], quality: Quality) -> None:
    """Measure pixels where they are: once they have been handed over, the slot is the next patch's."""
    quality[[*slots.values()]] = measure([stream.pixels(slot) for slot in slots])


def when_done(futures: Sequence[Future[Found]], function: Callable[[], None]) -> None:
    """Call a function when all futures are done: now, or in the thread that finishes the last one."""
    if not futures:
        function()
    else:
        futures[0].add_done_callback(lambda _: when_done(futures[1:], function))
