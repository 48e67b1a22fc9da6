"""``pathserve archive``: slides by the thousand, and what is asked of what they have become."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageError
from serving.archive.job import Asked, Credentials, Job
from serving.archive.records import Failure, Refused, failures, wholes
from serving.archive.slides import named_slides
from serving.archive.status import Status, StatusReader
from serving.archive.stores.opening import open_store
from serving.archive.submitting import Sample, submit
from serving.archive.tokens import tokens_of
from serving.batch.min_quality import ordered
from serving.batch.worklist import NamedSlide, WorklistError
from serving.config.exit_status import ExitStatus
from serving.config.settings import Settings
from serving.errors import fault_of
from serving.output.files import OutputError
from serving.processes.assembly import http_store
from serving.telemetry.json_log import log_as_json


def archive(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    """Run the command, as ``serving.cli.archive_arguments`` has parsed it; return an exit status."""
    log_as_json("ERROR", process="archive")
    acts: dict[str, Callable[[argparse.Namespace, Settings], ExitStatus]] = {
        "run": _run,
        "status": _status,
        "index": _index,
        "search": _search,
    }
    try:
        return acts[options.act](options, settings)
    except (OutputError, Refused, WorklistError) as error:
        return _said(str(error))
    except ImageError as error:
        fault = fault_of(error.fault)
        return _said(f"{fault.code}: {fault.description}")
    except KeyboardInterrupt:
        print("pathserve: stopped; the same command goes on from here.", file=sys.stderr)
        return ExitStatus.INTERRUPTED


def _run(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    from serving.archive.engine import RunEnded, run
    from serving.archive.summary import rate, write_summary

    if not options.slides or not options.out:
        return _said("--slides and --out say what to embed, and where to write it.")
    job = job_of(options)
    slides = named_slides(options.slides, http_store(settings), tokens_of(job, settings).current())
    store = open_store(job.out)
    line = _ProgressLine(len(slides))
    try:
        samples = submit(job, store, slides, partial(_engine, run, options.engine), line.show)
    except RunEnded as error:
        return _said(str(error).removeprefix("ends the run: "))
    line.end()
    picture = write_summary(store, samples, datetime.now(UTC))
    status = samples[-1].status
    print(f"{job.out}: {_words(status, len(slides))}, {rate(samples):,.0f} patches a second.")
    print(f"{job.out.rstrip('/')}/{picture} shows how it went.")
    if status.failed_slides or status.failed_blocks:
        print(
            f"pathserve: {status.failed_slides} slides and {status.failed_blocks} blocks have failed: "
            f"pathserve archive status {job.out} --failed lists them, --retry-failed tries them again.",
            file=sys.stderr,
        )
    failed = status.failed_slides or status.failed_blocks
    return ExitStatus.FAULT if failed or status.whole < len(slides) else ExitStatus.OK


def job_of(options: argparse.Namespace) -> Job:
    """Return the job that a command line describes.

    Raises
    ------
    Refused
        When an option cannot be used.
    """
    try:
        IccTarget.named(options.icc)
    except ValueError:
        raise Refused(
            f"--icc {options.icc} is not a colour space; there are {', '.join(IccTarget)}."
        ) from None
    command = tuple(shlex.split(options.token_command or ""))
    credentials = Credentials.ENVIRONMENT
    if command:
        credentials = Credentials.COMMAND
    elif options.google_credentials:
        credentials = Credentials.GOOGLE
    if options.store_requests < options.workers:
        raise Refused(
            f"--store-requests {options.store_requests} is less than one a worker, of which there are "
            f"{options.workers}."
        )
    asked = {field.name: getattr(options, field.name) for field in dataclasses.fields(Asked)}
    asked["min_quality"] = ordered(options.min_quality)
    return Job(
        options.out,
        Asked(**asked),
        options.service,
        credentials,
        command,
        options.store_requests // options.workers,
        options.retry_failed,
    )


def _engine(
    run: Callable[[Job, Sequence[NamedSlide], Sequence[str]], object],
    engine: Sequence[str],
    job: Job,
    slides: Sequence[NamedSlide],
) -> object:
    return run(job, slides, engine)


class _ProgressLine:
    """Says how far a run is: over the same line on a terminal, else a line now and then."""

    def __init__(self, slides: int) -> None:
        self._slides = slides
        self._first: Sample | None = None
        self._over = "\r\033[K" if sys.stderr.isatty() else ""

    def show(self, sample: Sample) -> None:
        """Print a look at the run."""
        first = self._first = self._first or sample
        seconds, status = sample.seconds - first.seconds, sample.status
        done = status.done - first.status.done
        rate = done / seconds if seconds > 0 else 0.0
        left = f", {_duration((status.patches - status.done) / rate)} left" if rate else ""
        words = f"{_words(status, self._slides)}, {rate:,.0f}/s{left}"
        print(f"{self._over}{words}", end="" if self._over else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line as it is."""
        if self._over:
            print(file=sys.stderr)


def _status(options: argparse.Namespace, _: Settings) -> ExitStatus:
    store = open_store(options.out)
    if options.failed:
        rows = csv.writer(sys.stdout)
        rows.writerow([field.name for field in dataclasses.fields(Failure)])
        whole = {one.slide: one for one in wholes(store)}
        for failure in failures(store):
            if failure.slide not in whole or failure.block is None:
                rows.writerow(dataclasses.astuple(failure))
        for one in whole.values():
            rows.writerows(dataclasses.astuple(failure) for failure in one.failures)
        return ExitStatus.OK
    status = StatusReader(store).read()
    print(f"{options.out}: {_words(status, None)}.")
    return ExitStatus.OK


def _words(status: Status, slides: int | None) -> str:
    of = status.planned if slides is None else slides
    return (
        f"{status.whole:,} of {of:,} slides whole, {status.done:,} of {status.patches:,} patches planned "
        f"({status.share:.1%}), {status.errors:,} with an error; failed: {status.failed_slides:,} slides, "
        f"{status.failed_blocks:,} blocks"
    )


def _duration(seconds: float) -> str:
    minutes = int(seconds / 60)
    return f"{int(seconds)} s" if minutes < 2 else f"{minutes // 60} h {minutes % 60} min"


def _index(options: argparse.Namespace, _: Settings) -> ExitStatus:
    from serving.archive.index import build

    built = build(open_store(options.out))
    print(f"{options.out}: an index of {built.vectors:,} vectors, {built.size / 1e6:,.1f} MB.")
    return ExitStatus.OK


def _search(options: argparse.Namespace, settings: Settings) -> ExitStatus:
    from serving.archive.searching import search

    store = open_store(options.out)
    rows = csv.writer(sys.stdout)
    rows.writerow(("distance", "slide", "x", "y", "x0", "y0"))
    for hit in search(store, options.like, options.most, options.service, settings):
        rows.writerow((f"{hit.distance:.6g}", hit.slide, hit.x, hit.y, hit.x0, hit.y0))
    return ExitStatus.OK


def _said(sentence: str) -> ExitStatus:
    print(f"pathserve: {sentence}", file=sys.stderr)
    return ExitStatus.FAULT
