"""The pipeline: all that knows Apache Beam. Slides become pieces, pieces become rows in the output.

Linear, since some runners run but the last branch; what is done is told by counters and by the output itself,
and nothing of it goes through the engine.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from serving.archive.blocks import do_piece
from serving.archive.job import Done, Job, Piece
from serving.archive.planning import pieces_of
from serving.archive.records import Refused
from serving.archive.worker import Worker
from serving.batch.embedders import IN_FLIGHT
from serving.batch.worklist import NamedSlide
from serving.client import ServiceFault
from serving.config.settings import SettingsError
from serving.output.files import OutputError

DEFAULT_RUNNER = "FnApiRunner"
"""Beam's own, in this process. Named, because DirectRunner may choose one that has to be downloaded first."""

_RUNNERS = {"daskrunner": "apache_beam.runners.dask.dask_runner.DaskRunner"}
"""Runners whose short names Beam does not know."""

_NAMESPACE = "pathserve"

_ENDS_RUN = (Refused, SettingsError, OutputError, ServiceFault)
_MARK = "ends the run: "


class RunEnded(Exception):
    """What ends a run, told through an engine that keeps no more of an exception than its text."""


class _OfWorker(beam.DoFn):  # type: ignore[misc]  # Beam has no types that mypy sees here
    """Has the worker of its process, which all threads and both steps share."""

    def __init__(self, job: Job, shared: Shared, make: Callable[[Job], Worker]) -> None:
        self._job, self._shared, self._make = job, shared, make
        self._worker: Worker | None = None
        self._counters = {
            name: Metrics.counter(_NAMESPACE, name) for name in ("slides", "patches", "errors", "failed")
        }

    def setup(self) -> None:
        """Load the model, if this is the first of the process."""
        self._worker = _or_ended(lambda: self._shared.acquire(lambda: self._make(self._job)))

    def worker(self) -> Worker:
        """Return this process's. Not a property: Beam reads all attributes before there is one."""
        assert self._worker is not None
        return self._worker

    def count(self, done: Done) -> None:
        """Add what became of a piece to Beam's metrics."""
        self._counters["slides"].inc(done.slides)
        self._counters["patches"].inc(done.patches)
        self._counters["errors"].inc(done.errors)
        self._counters["failed"].inc(int(done.failed is not None))


class PlanSlides(_OfWorker):
    """Slides in, pieces out."""

    def process(self, slide: NamedSlide) -> Iterator[Piece]:
        """Plan a slide."""
        for found in _or_ended(lambda: list(pieces_of(self.worker(), slide))):
            if isinstance(found, Done):
                self.count(found)
            else:
                yield found


class DoPieces(_OfWorker):
    """Pieces in, what became of them out.

    A few are done at the same time, as ``pathserve embed`` does: while one waits for its last patches, the
    encoder has those of the next.
    """

    def setup(self) -> None:
        """Begin the threads, too."""
        super().setup()
        self._threads = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="piece")

    def start_bundle(self) -> None:
        """Begin with nothing in flight."""
        self._running: deque[tuple[Future[Done], Any, Any]] = deque()

    def process(
        self, piece: Piece, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[Done]:
        """Begin a piece, and give what became of an earlier one."""
        self._running.append((self._threads.submit(do_piece, self.worker(), piece), timestamp, window))
        if len(self._running) > IN_FLIGHT:
            yield self._next()[0]

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Give what became of the last ones."""
        while self._running:
            done, timestamp, window = self._next()
            yield WindowedValue(done, timestamp, (window,))

    def teardown(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> tuple[Done, Any, Any]:
        future, timestamp, window = self._running.popleft()
        done = _or_ended(future.result)
        self.count(done)
        return done, timestamp, window


def run(
    job: Job,
    slides: Sequence[NamedSlide],
    engine: Sequence[str],
    make: Callable[[Job], Worker] = Worker,
) -> dict[str, int]:
    """Run a job to its end; return Beam's counters, where the runner has any.

    Parameters
    ----------
    engine:
        Beam's own options; without a runner among them, ``DEFAULT_RUNNER``.
    make:
        Makes a process's worker.

    Raises
    ------
    RunEnded
        With what ended it, for people.
    """
    options = PipelineOptions(list(engine))
    standard = options.view_as(StandardOptions)
    name = standard.runner or DEFAULT_RUNNER
    standard.runner = _RUNNERS.get(name.lower(), name)
    shared = Shared()
    try:
        pipeline = beam.Pipeline(options=options)
        _ = (
            pipeline
            | "Slides" >> beam.Create(list(slides))
            | "SpreadSlides" >> beam.Reshuffle()
            | "Plan" >> beam.ParDo(PlanSlides(job, shared, make))
            | "SpreadBlocks" >> beam.Reshuffle()
            | "Embed" >> beam.ParDo(DoPieces(job, shared, make))
        )
        result = pipeline.run()
        state = result.wait_until_finish()
    except Exception as error:
        # Beam adds which step it was, which says nothing to people.
        if found := re.search(rf"{_MARK}(.+?)(?: \[while running .*)?$", str(error), re.MULTILINE):
            raise RunEnded(found.group(1).strip()) from error
        raise
    finally:
        # Where pieces were done in this process, its worker is still there.
        if (worker := shared.acquire(_nothing)) is not None:
            worker.close()
    if state is not None and str(state) != "DONE":
        raise RunEnded(f"The engine ended in the state {state}; its log has more. What is done is kept.")
    return _counters(result)


def _nothing() -> None:
    """Make no worker where there is none."""


def _counters(result: Any) -> dict[str, int]:
    try:
        found = result.metrics().query()["counters"]
    except (NotImplementedError, AttributeError, TypeError, KeyError):
        return {}  # some runners have none
    return {
        one.key.metric.name: int(one.committed or 0)
        for one in found
        if one.key.metric.namespace == _NAMESPACE
    }


def _or_ended(call: Any) -> Any:
    """Return what a call returns; mark what ends the run, to find it again in an engine's own words."""
    try:
        return call()
    except _ENDS_RUN as error:
        raise RunEnded(f"{_MARK}{' '.join(str(error).split())}") from error
