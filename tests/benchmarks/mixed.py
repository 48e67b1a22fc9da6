"""What others feel while the service is busy: one patch beside 4,000, health, memory."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import numpy as np
import requests

from model.runtimes.load import BUILTIN
from tests.benchmarks.load import Pixels, body_of, memory_megabytes
from tests.support.service import Service

SAMPLES = 60
LARGEST = 4000


@contextlib.contextmanager
def _busy(service: Service, body: bytes, clients: int) -> Iterator[None]:
    """Keep clients sending a request while a ``with`` block runs."""
    stop = threading.Event()
    sessions = [requests.Session() for _ in range(clients)]

    def send(session: requests.Session) -> None:
        while not stop.is_set():
            with contextlib.suppress(requests.RequestException):
                session.post(f"{service.url}/predict", data=body, timeout=(10, 2 if stop.is_set() else 400))

    threads = [threading.Thread(target=send, args=(session,), daemon=True) for session in sessions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()


def _milliseconds(service: Service, body: bytes | None, samples: int) -> np.ndarray:
    session, taken = requests.Session(), []
    for _ in range(samples):
        started = time.perf_counter()
        if body is None:
            answer = session.get(f"{service.url}/health", timeout=60)
        else:
            answer = session.post(f"{service.url}/predict", data=body, timeout=600)
        taken.append(1000 * (time.perf_counter() - started))
        if answer.status_code != 200:
            raise RuntimeError(answer.text[:300])
    return np.array(taken)


def _encode_seconds(service: Service) -> tuple[float, float]:
    """Return batches so far and the seconds that they took."""
    metrics = service.metrics()
    return metrics["pathserve_batch_size_count"], metrics["pathserve_encoder_busy_seconds_total"]


def bench_mixed() -> None:
    """Measure with ViT-S/16: health, and one patch beside 4,000."""
    print("\n### ViT-S/16, busy\n")
    with Service({"PATHSERVE_MODEL": BUILTIN}) as service:
        service.wait_healthy()
        one, jpegs, large = body_of(Pixels.ONE_PNG), body_of(Pixels.JPEGS), body_of(Pixels.LARGE, LARGEST)
        with _busy(service, large, 1):
            threading.Event().wait(5)
            batches, seconds = _encode_seconds(service)
            taken = _milliseconds(service, one, SAMPLES)
            more, spent = _encode_seconds(service)
            batch = 1000 * (spent - seconds) / (more - batches)
            peak = sum(memory_megabytes(process) for process in service.processes())
        print(
            f"One patch while {LARGEST:,} are embedded: p50 {np.median(taken):.0f} ms, p99 "
            f"{np.percentile(taken, 99):.0f} ms, a batch takes {batch:.0f} ms on average "
            f"(p99 ÷ batch {np.percentile(taken, 99) / batch:.2f}). Memory of all processes (PSS) "
            f"{peak:.0f} MB."
        )
    with Service({"PATHSERVE_MODEL": BUILTIN}) as service:
        service.wait_healthy()
        with _busy(service, jpegs, 4):
            threading.Event().wait(5)
            taken = _milliseconds(service, None, 300)
        print(
            f"Health under four clients of 64 JPEGs: p50 {np.median(taken):.1f} ms, p99 "
            f"{np.percentile(taken, 99):.1f} ms.",
            flush=True,
        )


def bench_memory(probe: str) -> None:
    """Print memory over 50 requests of 4,000 patches."""
    print("\n### Memory over 50 requests of 4,000 patches, probe model\n")
    with Service({"PATHSERVE_MODEL": probe}) as service:
        service.wait_healthy()
        large = body_of(Pixels.LARGE, LARGEST)
        found = []
        for _ in range(50):
            _milliseconds(service, large, 1)
            found.append(sum(memory_megabytes(process) for process in service.processes()))
        print(
            f"All processes (PSS): {found[0]:.0f} MB after the first, {found[9]:.0f} after 10, "
            f"{found[24]:.0f} after 25, {found[-1]:.0f} after 50.",
            flush=True,
        )
