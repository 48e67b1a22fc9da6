"""The first piece of work on a slide: its plan, and which of its blocks are left to do."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator

from dicom_io.colour.profiles import IccTarget
from dicom_io.errors import ImageError
from dicom_io.web.credentials import BearerToken
from serving.archive import layout
from serving.archive.commit import blocks_there, tidy
from serving.archive.faults import failure_of, is_of_credentials
from serving.archive.job import Done, Piece
from serving.archive.plans import Head, SlidePlan, head_from, to_bytes
from serving.archive.records import Refused, write_failure
from serving.archive.worker import Worker
from serving.batch.asked import about_of, mpp_of, run_of, wanted_of
from serving.batch.opened import TargetError
from serving.batch.plan import plan
from serving.batch.target import find_target
from serving.batch.worklist import NamedSlide
from serving.config.settings import SettingsError
from serving.output.files import OutputError

log = logging.getLogger(__name__)


def pieces_of(worker: Worker, named: NamedSlide) -> Iterator[Piece | Done]:
    """Yield what is left to do of a slide; plan it first, if it has no plan.

    A slide that cannot be planned has a record that it failed, and no pieces.

    Raises
    ------
    Refused
        When its plan is of another model, or slide after slide fails.
    OutputError
    """
    try:
        yield from _pieces(worker, named)
    except (Refused, SettingsError, OutputError):
        raise
    except Exception as error:
        worker.require_open()
        failure = failure_of(named.name, None, error)
        write_failure(worker.store, failure)
        worker.outages.note(failure)
        yield Done(failed=failure.code)


def _pieces(worker: Worker, named: NamedSlide) -> Iterator[Piece]:
    store, retrying = worker.store, worker.job.retry_failed
    failed = {layout.block_in(name) for name in store.names(layout.failures_of(named.name))}
    done = store.exists(layout.done_of(named.name))
    if (retrying and not failed) or (not retrying and None in failed and not done):
        return
    head = _head(worker, named)
    if done:
        tidy(store, head)  # who made it whole may have been killed before it had tidied up
        return
    # The record of the slide itself stays until it is whole: a try that is killed is found again by it.
    there = blocks_there(store, named.name)
    for block in failed & there:  # it has succeeded since, and its record is out of date
        store.remove(layout.failure_of(named.name, block))
    if len(there) == head.blocks:
        yield Piece(named, None)
    whole_slide = None in failed
    for block in range(head.blocks):
        if block not in there and (whole_slide or (block in failed) == retrying):
            yield Piece(named, block)


def _head(worker: Worker, named: NamedSlide) -> Head:
    """Return the head of a slide's plan, which is made unless it is there.

    Raises
    ------
    Refused
        When the plan that is there is of another model.
    TargetError
        When it is of another file, or of something else that was asked for.
    """
    store, name = worker.store, layout.plan_of(named.name)
    run = run_of(worker.job.asked, named, wanted_of(worker.job.asked, named))
    data = store.read(name)
    if data is None:
        made = _planned(worker, named)
        worker.outages.end()
        if store.add(name, to_bytes(made)):
            return made.head
        data = store.read(name)
        assert data is not None  # plans are not removed by us
    head = head_from(data, f"{store.address}/{name}")
    worker.require_model(head.model)
    # A file that is gone has no size; what was made of it is not worth less for that.
    keys = dict.fromkeys((*run, "quality", "min_quality"))
    differ = [k for k in keys if head.run.get(k) != run.get(k) and (k, run.get(k)) != ("bytes", None)]
    if differ:
        raise TargetError(
            f"{store.address}/{name} was made for something else ({', '.join(sorted(differ))} differ); name "
            "another output, or give the slide another name."
        )
    return head


def _planned(worker: Worker, named: NamedSlide) -> SlidePlan:
    token = worker.tokens.current()
    try:
        return _planned_with(worker, named, token)
    except ImageError as error:
        if not is_of_credentials(error) or (renewed := worker.tokens.renew(token)) is None:
            raise
        return _planned_with(worker, named, renewed)


def _planned_with(worker: Worker, named: NamedSlide, token: BearerToken | None) -> SlidePlan:
    asked = worker.job.asked
    wanted = wanted_of(asked, named)
    run = run_of(asked, named, wanted)
    with worker.slide(named.where, mpp_of(asked, named), token) as slide:
        target = find_target(slide, wanted, worker.context, worker.guard, pictured=False)
        if target.warning:
            log.warning("magnification", extra={"reason": target.warning})
        blocks = plan(target.origins)
        head = Head(
            named.name,
            about_of(run, slide, target),
            slide.identities[target.frame.level],
            target.frame,
            dataclasses.replace(target.options, icc_target=IccTarget.named(asked.icc)),
            worker.model,
            worker.dimension,
            len(target.origins),
            len(blocks.chunks),
            blocks.bands,
        )
        return SlidePlan(head, blocks.chunks)
