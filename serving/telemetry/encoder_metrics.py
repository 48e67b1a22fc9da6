"""Prometheus metrics of the encoder process, served in one scrape with those of the HTTP workers."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from model.golden.comparison import Finding

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
        # Made by the first check: a service without a golden file shows none of them.
        self._golden: GoldenMetrics | None = None

    def batch(self, size: int, failed: int, seconds: float) -> None:
        """Count one batch."""
        self._sizes.observe(size)
        self._failed.inc(failed)
        self._busy.inc(seconds)

    def queue_depth(self, patches: int) -> None:
        """Set the number of patches that wait."""
        self._depth.set(patches)

    def golden(self, finding: Finding) -> None:
        """Count a check of the golden patches, and show how far off they were."""
        self._golden = self._golden or GoldenMetrics()
        self._golden.show(finding)


class GoldenMetrics:
    """What the checks of golden patches found."""

    def __init__(self) -> None:
        self._checks = Counter(
            "pathserve_golden_checks",
            "Times that all golden patches were embedded again, by whether their vectors were reproduced.",
            ["outcome"],
            registry=None,
        )
        self._checks.labels("missed")  # from 0 on: the first one later is an increase
        self._cosine = Gauge(
            "pathserve_golden_cosine",
            "Cosine of the golden patch that was furthest off in the last check.",
            multiprocess_mode="livemin",
            registry=None,
        )
        self._difference = Gauge(
            "pathserve_golden_difference",
            "Its largest difference of a number, as a share of its vector's root mean square.",
            multiprocess_mode="livemax",
            registry=None,
        )

    def show(self, finding: Finding) -> None:
        """Count one check."""
        self._checks.labels("reproduced" if finding.reproduced else "missed").inc()
        self._cosine.set(finding.cosine)
        self._difference.set(finding.difference)
