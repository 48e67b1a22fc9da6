"""The host beside a device that needs none of its cores: how batches fill, and how many cores feed one card.

``python -m tests.benchmarks.device`` prints it alone.
"""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import psutil
import requests

from tests.benchmarks.device_encoder import DEVICES, Device, environment
from tests.benchmarks.dicom import PATCHES, dicom_request, jpeg_level
from tests.benchmarks.load import ORIGINS, Pixels, body_of, cpu_seconds
from tests.support.service import Service
from tests.support.store import Store
from tests.support.tissue import encode, instance, tissue

CLIENTS = 3
INLINED = 64


@dataclass(frozen=True, slots=True)
class Fed:
    """What a device was fed.

    Attributes
    ----------
    rate:
        Patches per second.
    batch:
        Mean size of a batch.
    busy:
        Share of the time in which the device ran.
    workers_ms, encoder_ms:
        CPU a patch of the HTTP side and of the encoder process.
    """

    rate: float
    batch: float
    busy: float
    workers_ms: float
    encoder_ms: float

    @property
    def per_core(self) -> float:
        """Patches per second that one core would prepare."""
        return 1000 / (self.workers_ms + self.encoder_ms)


def bench_devices(seconds: float) -> None:
    """Measure, and print two tables."""
    fed: dict[tuple[str, str], Fed] = {}
    slide, level = jpeg_level()
    with Store(slide) as store:
        for device in DEVICES.values():
            with tempfile.TemporaryDirectory() as site, Service(environment(device, Path(site))) as service:
                service.wait_healthy()
                tokens = itertools.count()
                dicom = (
                    body([dicom_request(store, slide, level, "NONE") | {"bearer_token": f"token-{token}"}])
                    for token in tokens
                )
                for source, bodies, patches in (
                    ("JPEG, inlined", itertools.repeat(body_of(Pixels.JPEGS)), INLINED),
                    ("PNG, inlined", itertools.repeat(_pngs()), INLINED),
                    ("JPEG, DICOMweb, cold", dicom, PATCHES),
                ):
                    fed[device.name, source] = _feed(service, bodies, patches, seconds)
    _print(fed)


def body(instances: list[dict[str, object]]) -> bytes:
    """Return a request's body."""
    return orjson.dumps({"instances": instances})


def _pngs() -> bytes:
    image = tissue(2240, 2240)
    tiles = [np.ascontiguousarray(image[y : y + 224, x : x + 224]) for x, y in ORIGINS[:INLINED]]
    return orjson.dumps({"instances": [instance(encode(tile)) for tile in tiles]})


def _feed(service: Service, bodies: Iterator[bytes], patches: int, seconds: float) -> Fed:
    """Let a few clients send requests for some time, one after the other each."""
    lock, done = threading.Lock(), list[int]()
    _send(service, bodies, patches, 0.0, lock, done)  # warm
    encoder = service.encoder()
    cpu, own, figures, started = cpu_seconds(service), _cpu(encoder), service.metrics(), time.perf_counter()
    done.clear()
    clients = [
        threading.Thread(target=_send, args=(service, bodies, patches, seconds, lock, done))
        for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    elapsed = time.perf_counter() - started
    own = _cpu(encoder) - own
    cpu = cpu_seconds(service) - cpu - own
    now = service.metrics()

    def grown(name: str) -> float:
        return now[name] - figures.get(name, 0.0)

    return Fed(
        rate=sum(done) / elapsed,
        batch=grown("pathserve_batch_size_sum") / grown("pathserve_batch_size_count"),
        busy=grown("pathserve_encoder_busy_seconds_total") / elapsed,
        workers_ms=1000 * cpu / sum(done),
        encoder_ms=1000 * own / sum(done),
    )


def _send(
    service: Service,
    bodies: Iterator[bytes],
    patches: int,
    seconds: float,
    lock: threading.Lock,
    done: list[int],
) -> None:
    session = requests.Session()
    session.trust_env = False
    until = time.perf_counter() + seconds
    while True:
        with lock:
            data = next(bodies)
        response = session.post(f"{service.url}/predict", data=data, timeout=600)
        if response.status_code != 200 or b'"error"' in response.content:
            raise RuntimeError(f"HTTP {response.status_code} {response.text[:300]}")
        with lock:
            done.append(patches)
        if time.perf_counter() >= until:
            return


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _print(fed: dict[tuple[str, str], Fed]) -> None:
    print("\n### Beside a device that needs no core\n")
    print(
        "| device alike | images | patches/s | mean batch | device busy | CPU ms/patch: workers + encoder "
        "| patches/s a core |"
    )
    print("|---|---|---|---|---|---|---|")
    for (name, source), found in fed.items():
        print(
            f"| {name} | {source} | {found.rate:.0f} | {found.batch:.1f} | {100 * found.busy:.0f} % "
            f"| {found.workers_ms:.2f} + {found.encoder_ms:.2f} | {found.per_core:.0f} |"
        )
    sources = list(dict.fromkeys(source for _, source in fed))
    print(f"\n| cores to feed one card | its patches/s | {' | '.join(sources)} |")
    print(f"|---|---|{'---|' * len(sources)}")
    for name, device in DEVICES.items():
        cells = " | ".join(f"{_cores(device, fed[name, source]):.1f}" for source in sources)
        print(f"| {name}-like | {device.peak:.0f} | {cells} |", flush=True)


def _cores(device: Device, found: Fed) -> float:
    return device.peak / found.per_core


if __name__ == "__main__":
    bench_devices(4.0)
