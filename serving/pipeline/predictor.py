"""Predictions: a request's outcomes, or the one error that fails it whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.waiting import Cancellation
from model.encoder import EncoderFacts
from model.transport.client import EncoderClient
from model.transport.stream import DeadlineExceeded, EncoderUnavailable, Stream
from serving.api.request import PredictRequest
from serving.errors import unavailable
from serving.pipeline.budget import ByteBudget
from serving.pipeline.run import Outcome, Pools, Run, shared_images
from serving.pipeline.watched_threads import WatchedThreads
from serving.telemetry.request_record import RequestStage, StageTimes

_FREE_IMAGE_BYTES = 8_000_000
_WAITING_THREADS = 8
"""Threads for images that helper processes decode: some wait while others crop and transform colours.

More than the large images that there is memory for at once, which wait for each other.
"""


def _nobody_hangs_up(_: Callable[[], None]) -> AbstractContextManager[None]:
    return nullcontext()


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
    max_reads:
        Patches, and further frames of resized levels, that one request may read.
    """

    def __init__(self, encoder: EncoderClient, context: ReadContext, *, threads: int, max_reads: int) -> None:
        self._encoder = encoder
        self._context = context
        self._max_reads = max_reads
        self._lookahead = threads + 1
        self._pools = Pools(
            WatchedThreads(threads, "decode"), WatchedThreads(_WAITING_THREADS, "decode-elsewhere")
        )
        # Room for the largest image allowed: decoded and resized, four bytes a pixel.
        self._memory = ByteBudget(8 * context.max_image_pixels, free_below=_FREE_IMAGE_BYTES)

    def require_ready(self) -> EncoderFacts:
        """Return the facts of an encoder that can be used.

        Raises
        ------
        ServiceError
            SERVICE_UNAVAILABLE_ERROR when the encoder is not there, or threads or helper processes that
            decode are stuck.
        """
        facts = self._encoder.facts
        if facts is None or not self._encoder.healthy:
            raise unavailable("The encoder is not ready.")
        if not (self._pools.computing.alive and self._pools.waiting.alive and self._context.decoders.healthy):
            raise unavailable("Images are not being decoded any more.")
        return facts

    def predict(
        self,
        request: PredictRequest,
        deadline: float,
        stages: StageTimes,
        watching: Callable[[Callable[[], None]], AbstractContextManager[None]] = _nobody_hangs_up,
    ) -> Predictions:
        """Embed all patches of a request.

        Parameters
        ----------
        deadline:
            ``time.monotonic()`` seconds.
        watching:
            Enters a context in which the function that it is given is called when the client hangs up.

        Raises
        ------
        Abandoned
            When the client hung up; what was queued for it is dropped.
        ServiceError
            SERVICE_UNAVAILABLE_ERROR when the encoder is down or the deadline passes; faults of single
            instances are outcomes.
        """
        stream: Stream | None = None
        try:
            stream = self._encoder.open_stream(request.patch_count)
            waits = Cancellation(deadline)
            session = ReadSession(self._context, waits, shared_images(request), stages.measure)
            reads = max(0, self._max_reads - request.patch_count)
            run = Run(request, stream, session, reads, self._lookahead, self._pools, self._memory)

            def gone(stream: Stream = stream) -> None:
                waits.cancel()
                stream.abandon()

            with watching(gone):
                outcomes = run.outcomes()
            stages.add(RequestStage.QUEUE, stream.queue_s)
            stages.add(RequestStage.ENCODE, stream.encode_s)
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
