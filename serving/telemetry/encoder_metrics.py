"""Prometheus metrics of the encoder process, served in one scrape with those of the HTTP workers."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class EncoderMetrics:
    """Counts batches, failed patches and restarts, and shows the queue's depth; a ``BatchObserver``.

    Parameters
    ----------
    restarted:
        Whether this process replaces one that died.
    """

    def __init__(self, *, restarted: bool) -> None:
        # Registered nowhere: values are written to files, which HTTP workers read.
        self._sizes = Histogram(
            "pathserve_batch_size",
            "Patches in a batch given to the model.",
            buckets=BATCH_SIZES,
            registry=None,
        )
        self._failed = Counter(
            "pathserve_failed_patches", "Patches that the model could not embed.", registry=None
        )
        self._busy = Counter("pathserve_encoder_busy_seconds", "Time spent inside batches.", registry=None)
        self._depth = Gauge(
            "pathserve_queue_depth",
            "Patches waiting for a batch.",
            multiprocess_mode="livesum",
            registry=None,
        )
        self._restarts = Counter(
            "pathserve_encoder_restarts", "Encoder processes that replaced a dead one.", registry=None
        )
        self._restarts.inc(1 if restarted else 0)

    def batch(self, size: int, failed: int, seconds: float) -> None:
        """Count one batch."""
        self._sizes.observe(size)
        self._failed.inc(failed)
        self._busy.inc(seconds)

    def queue_depth(self, patches: int) -> None:
        """Set the number of patches that wait."""
        self._depth.set(patches)
