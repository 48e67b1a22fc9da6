"""The second piece of work: a block of patches, read, embedded and written, or a row that says why not."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from dicom_io.errors import ImageError
from dicom_io.web.credentials import BearerToken
from serving.archive import layout
from serving.archive.commit import commit_if_whole, tidy
from serving.archive.faults import MAY_PASS, failure_of, is_of_credentials
from serving.archive.job import Done, Piece
from serving.archive.plans import SlidePlan
from serving.archive.records import Failure, Refused, write_failure
from serving.archive.worker import Worker
from serving.batch.asked import mpp_of, quality_of
from serving.batch.chunks import ChunkEmbedder, Stopped
from serving.batch.plan import Origin
from serving.client import ServiceFault
from serving.config.settings import SettingsError
from serving.output.files import OutputError
from serving.output.table import Rows, table_of


def do_piece(worker: Worker, piece: Piece) -> Done:
    """Do a piece that has not been done; put the slide together if it was the last.

    Raises
    ------
    Refused, SettingsError, OutputError, ServiceFault
        What every other piece would meet as well; Refused, too, when piece after piece fails.
    """
    store, slide = worker.store, piece.slide.name
    if store.exists(layout.done_of(slide)):
        return Done()
    head = worker.plan(slide).head
    if piece.block is None:
        return Done(slides=int(commit_if_whole(store, head)))
    if store.exists(layout.part_of(slide, piece.block)):
        return Done(slides=int(commit_if_whole(store, head)))
    try:
        rows = _embedded(worker, piece, piece.block)
    except (Refused, SettingsError, OutputError, ServiceFault):
        raise
    except Exception as error:
        worker.require_open()
        return _failed(worker, failure_of(slide, piece.block, error))
    worker.require_open()
    if not worker.job.retry_failed and (passing := _that_may_pass(slide, piece.block, rows)) is not None:
        return _failed(worker, passing)
    return _written(worker, slide, piece.block, rows)


def _embedded(worker: Worker, piece: Piece, block: int) -> Rows:
    """Return the rows of a block; a token that the store refuses is renewed once."""
    plan, token = worker.plan(piece.slide.name), worker.tokens.current()
    try:
        return _embedded_with(worker, piece, plan, plan.blocks[block], token)
    except (ImageError, Stopped) as error:
        if not is_of_credentials(error) or (renewed := worker.tokens.renew(token)) is None:
            raise
        return _embedded_with(worker, piece, plan, plan.blocks[block], renewed)


def _embedded_with(
    worker: Worker, piece: Piece, plan: SlidePlan, origins: tuple[Origin, ...], token: BearerToken | None
) -> Rows:
    head, mpp = plan.head, mpp_of(worker.job.asked, piece.slide)
    with (
        worker.slide(piece.slide.where, mpp, token) as slide,
        worker.embedders(slide) as embedders,
    ):
        asked = worker.job.asked
        chunks = ChunkEmbedder(
            slide.source(head.frame.level),
            head.options,
            embedders,
            quality=bool(quality_of(asked)),
            bounds=asked.min_quality,
        )
        rows, model = chunks.embed(origins)
    worker.require_model(model)
    return rows


def _that_may_pass(slide: str, block: int, rows: Rows) -> Failure | None:
    """Return the first fault of a patch that another try may not meet; the block is left to that."""
    for error in rows.errors:
        code, _, sentence = (error or "").partition(": ")
        if code in MAY_PASS:
            return Failure(slide, block, code, sentence)
    return None


def _written(worker: Worker, slide: str, block: int, rows: Rows) -> Done:
    worker.outages.end()
    head, store = worker.plan(slide).head, worker.store
    sink = pa.BufferOutputStream()
    pq.write_table(table_of(rows, head.identity, head.frame), sink)
    added = store.add(layout.part_of(slide, block), sink.getvalue().to_pybytes())
    if worker.job.retry_failed:
        store.remove(layout.failure_of(slide, block))
    whole = commit_if_whole(store, head)
    if not whole:
        tidy(store, head)  # another run may have made it whole meanwhile, and this part is one too many
    if not added:
        return Done(slides=int(whole))
    return Done(len(rows.origins), sum(error is not None for error in rows.errors), slides=int(whole))


def _failed(worker: Worker, failure: Failure) -> Done:
    write_failure(worker.store, failure)
    worker.outages.note(failure)
    return Done(failed=failure.code)
