"""Predictions: a request's outcomes, or the one error that fails it whole."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.waiting import Cancellation
from model.encoder import EncoderFacts
from model.transport.client import EncoderClient
from model.transport.stream import DeadlineExceeded, EncoderDrifted, EncoderUnavailable
from serving.errors import Fault, ServiceError, unavailable
from serving.pipeline.budget import ByteBudget
from serving.pipeline.executors import WatchedThreads
from serving.pipeline.magnification import MagnificationGuard
from serving.pipeline.opening import shared_images
from serving.pipeline.outcome import Embeddings
from serving.pipeline.preflight import Check, Preflight
from serving.pipeline.run import Run, Workshop
from serving.pipeline.speed import Speed
from serving.pipeline.types import Item, Predictions, patch_count
from serving.telemetry.request_record import RequestStage, StageTimes

_FREE_IMAGE_BYTES = 8_000_000
_WAITING_THREADS = 8
"""Threads for images that helper processes decode: some wait while others crop and transform colours.

More than the large images that there is memory for at once, which wait for each other.
"""


class Predictor:
    """Runs requests against one encoder.

    Parameters
    ----------
    threads:
        Threads that decode, for all requests together; as many as there are cores.
    max_reads:
        Patches, and further frames of resized levels, that one request may read.
    guard:
        Judges the images' magnification; by default it is off.
    """

    def __init__(
        self,
        encoder: EncoderClient,
        context: ReadContext,
        *,
        threads: int,
        max_reads: int,
        guard: MagnificationGuard | None = None,
    ) -> None:
        self._guard = guard or MagnificationGuard()
        self._encoder = encoder
        self._context = context
        self._max_reads = max_reads
        self._speed = Speed()
        self._workshop = Workshop(
            WatchedThreads(threads, "decode"),
            WatchedThreads(_WAITING_THREADS, "decode-elsewhere"),
            # Room for the largest image allowed: decoded and resized, four bytes a pixel.
            ByteBudget(8 * context.max_image_pixels, free_below=_FREE_IMAGE_BYTES),
            lookahead=threads + 1,
        )

    @property
    def facts(self) -> EncoderFacts | None:
        """Facts of the encoder; ``None`` while there is none."""
        return self._encoder.facts

    def require_ready(self) -> EncoderFacts:
        """Return the facts of an encoder that can be used.

        Raises
        ------
        ServiceError
            SERVICE_UNAVAILABLE_ERROR when the encoder is not there or misses its golden patches, or threads
            or helper processes that decode are stuck.
        """
        facts, threads = self._encoder.facts, self._workshop
        if fault := self._encoder.fault:
            raise _drifted(fault)
        if facts is None or not self._encoder.healthy:
            raise unavailable("The encoder is not ready.")
        if not (threads.computing.alive and threads.waiting.alive and self._context.decoders.healthy):
            raise unavailable("Images are not being decoded any more.")
        return facts

    def predict(self, items: Sequence[Item], waits: Cancellation, stages: StageTimes) -> Predictions:
        """Embed all patches of a request.

        Parameters
        ----------
        waits:
            Has the request's deadline, and is cancelled when its client hangs up.

        Raises
        ------
        Abandoned
            When the client hung up; what was queued for it is dropped.
        ServiceError
            SERVICE_UNAVAILABLE_ERROR when the encoder is down or misses its golden patches, or the deadline
            passes; faults of single instances are outcomes.
        """
        patches, began = patch_count(items), time.perf_counter()
        try:
            with contextlib.closing(self._encoder.open_stream(patches)) as stream:
                waits.when_cancelled(stream.abandon)
                traced = any(not isinstance(item, Fault) and item.extras.provenance for item in items)
                session = ReadSession(
                    self._context, waits, shared_images(items), stages.measure, traced=traced
                )
                extra_frames = max(0, self._max_reads - patches)
                outcomes = Run(items, stream, session, self._workshop, extra_frames, self._guard).outcomes()
                good = [one for one in outcomes if isinstance(one, Embeddings)]
                embedded = sum(len(one.vectors) - len(one.faults) for one in good)
                self._speed.add(items, embedded, time.perf_counter() - began)
                stages.add(RequestStage.QUEUE, stream.queue_s, stream.queued)
                stages.add(RequestStage.ENCODE, stream.encode_s, stream.encoded)
                return Predictions(outcomes, stream.facts)
        except EncoderDrifted as error:
            raise _drifted(str(error)) from error
        except EncoderUnavailable as error:
            raise unavailable(
                "The encoder is starting or restarting; try again soon.", retry_after_s=5
            ) from error
        except DeadlineExceeded as error:
            raise _too_late() from error

    def check(self, items: Sequence[Item], waits: Cancellation, stages: StageTimes) -> Preflight:
        """Find what would become of a request's instances, without fetching a frame or decoding a pixel.

        No encoder is needed.

        Parameters
        ----------
        waits:
            As of ``predict``.

        Raises
        ------
        Abandoned
            When the client hung up.
        ServiceError
            SERVICE_UNAVAILABLE_ERROR when the deadline passes.
        """
        session = ReadSession(self._context, waits, shared_images(items), stages.measure)
        extra_frames = max(0, self._max_reads - patch_count(items))
        try:
            return Check(items, session, extra_frames, self._speed, self._guard).preflight()
        except DeadlineExceeded as error:
            raise _too_late() from error


def _too_late() -> ServiceError:
    return unavailable(
        "The request did not finish within this service's time limit; send fewer patches at once."
    )


def _drifted(fault: str) -> ServiceError:
    return unavailable(
        f"No vectors are given, as they would be wrong: {fault}. Try again in some minutes; if it stays, the "
        "service's operator should look at its log.",
        retry_after_s=60,
    )
