"""A run, as who starts it sees it: the output is checked, the engine runs, and its way is written down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from serving.archive import layout
from serving.archive.job import Job
from serving.archive.plans import VERSION
from serving.archive.records import same_or_refused
from serving.archive.status import Status, StatusReader
from serving.archive.stores.store import OutputStore
from serving.batch.plan import CHUNK
from serving.batch.worklist import NamedSlide
from serving.output.files import OutputError

LOOK_S = 10.0
"""How often the output is looked at: a few listings each time."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How far a run was, so many seconds after its start."""

    seconds: float
    status: Status


def submit(
    job: Job,
    store: OutputStore,
    slides: Sequence[NamedSlide],
    run: Callable[[Job, Sequence[NamedSlide]], object],
    saw: Callable[[Sample], None],
) -> list[Sample]:
    """Run a job; return how it went.

    Parameters
    ----------
    run:
        The engine.
    saw:
        Is told how far the run is, from time to time.

    Raises
    ------
    Refused
        When the output is of a run that asked for something else.
    OutputError
    """
    asked = {"version": VERSION, "block": CHUNK, **job.asked.as_json()}
    same_or_refused(store, layout.ARCHIVE, asked, "run")
    store.sweep()
    with _watching(store, saw) as samples:
        try:
            run(job, slides)
        finally:
            store.sweep()
    return samples


@contextmanager
def _watching(store: OutputStore, saw: Callable[[Sample], None]) -> Iterator[list[Sample]]:
    """Look at the output again and again in a thread of its own; yield what was seen, in full at the end."""
    reader, ended, began = StatusReader(store), threading.Event(), time.monotonic()
    samples: list[Sample] = []

    def look() -> None:
        try:
            sample = Sample(time.monotonic() - began, reader.read())
        except OutputError:
            return  # what is wrong with it is said by who writes it
        samples.append(sample)
        saw(sample)

    def watch() -> None:
        look()
        while not ended.wait(LOOK_S):
            look()

    thread = threading.Thread(target=watch, name="archive-status", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
    samples.append(Sample(time.monotonic() - began, reader.read()))
