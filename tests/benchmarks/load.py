"""Requests to measure with, and clients that send them."""

from __future__ import annotations

import json
import statistics
import threading
import time
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import psutil
import requests

from tests.support.service import Service
from tests.support.tissue import encode, instance, tissue


class Pixels(StrEnum):
    """What a request's images are."""

    ONE_PNG = "one 224 PNG"
    JPEGS = "64 JPEG 224"
    LARGE = "one 2240x2240 JPEG"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A request body that is sent again and again.

    Attributes
    ----------
    patches:
        Patches in one request.
    clients:
        Clients that send it at the same time, each one request after the other.
    """

    name: str
    pixels: Pixels
    body: bytes
    patches: int
    clients: int = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out: rate in patches/s, latencies in ms, CPU of all server processes in ms a patch."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    answer_bytes: float


SIDE = 2240
ORIGINS = [(x, y) for y in range(0, SIDE, 224) for x in range(0, SIDE, 224)]


def encoded_images(pixels: Pixels) -> tuple[list[bytes], int]:
    """Return a request's encoded images, and how many patches are cut from them."""
    image = tissue(SIDE, SIDE)
    if pixels is Pixels.LARGE:
        return [encode(image, "JPEG", quality=90)], len(ORIGINS)
    tiles = [np.ascontiguousarray(image[y : y + 224, x : x + 224]) for x, y in ORIGINS]
    if pixels is Pixels.ONE_PNG:
        return [encode(tiles[0])], 1
    return [encode(tile, "JPEG", quality=90) for tile in tiles[:64]], 64


def body_of(pixels: Pixels, patches: int | None = None) -> bytes:
    """Return a request's body; of the large JPEG so many patches, again and again the same 100."""
    images, count = encoded_images(pixels)
    if pixels is not Pixels.LARGE:
        return _body(*[instance(data) for data in images])
    return _body(*[instance(images[0], *ORIGINS) for _ in range((patches or count) // count)])


def scenarios() -> list[Scenario]:
    """Return the requests that the tables of docs/benchmarks.md show."""
    png, jpegs, large = (body_of(pixels) for pixels in Pixels)
    return [
        Scenario("one 224 PNG a request", Pixels.ONE_PNG, png, 1),
        Scenario("64 JPEG 224 instances", Pixels.JPEGS, jpegs, 64),
        Scenario("one 2240x2240 JPEG, 100 patches", Pixels.LARGE, large, 100),
        Scenario("one 224 PNG, 8 clients", Pixels.ONE_PNG, png, 1, clients=8),
        Scenario("64 JPEG 224 instances, 4 clients", Pixels.JPEGS, jpegs, 64, clients=4),
    ]


def _body(*instances: object) -> bytes:
    return json.dumps({"instances": list(instances)}).encode()


def measure(service: Service, scenario: Scenario, seconds: float) -> Measured:
    """Send a scenario's request for so many seconds and at least twice a client."""
    latencies: list[float] = []
    sizes: list[int] = []
    lock = threading.Lock()
    _client(service, scenario, 0.0, 1, latencies, sizes, lock)  # warm
    latencies.clear()
    cpu = cpu_seconds(service)
    started = time.perf_counter()
    threads = [
        threading.Thread(target=_client, args=(service, scenario, seconds, 2, latencies, sizes, lock))
        for _ in range(scenario.clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    patches = scenario.patches * len(latencies)
    ordered = sorted(latencies)
    return Measured(
        rate=patches / elapsed,
        p50_ms=1000 * statistics.median(ordered),
        p99_ms=1000 * ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        cpu_ms=1000 * (cpu_seconds(service) - cpu) / patches,
        answer_bytes=statistics.mean(sizes) / scenario.patches,
    )


def _client(
    service: Service,
    scenario: Scenario,
    seconds: float,
    least: int,
    latencies: list[float],
    sizes: list[int],
    lock: threading.Lock,
) -> None:
    session = requests.Session()
    session.trust_env = False
    until = time.perf_counter() + seconds
    while least > 0 or time.perf_counter() < until:
        started = time.perf_counter()
        response = session.post(f"{service.url}/predict", data=scenario.body, timeout=600)
        taken = time.perf_counter() - started
        if response.status_code != 200 or b'"error"' in response.content:
            raise RuntimeError(f"{scenario.name}: HTTP {response.status_code} {response.text[:300]}")
        least -= 1
        with lock:
            latencies.append(taken)
            sizes.append(len(response.content))


def cpu_seconds(service: Service) -> float:
    """Return the CPU time of all processes of a service so far."""
    times = [process.cpu_times() for process in service.processes()]
    return sum(t.user + t.system for t in times)


def memory_megabytes(process: psutil.Process) -> float:
    """Return a process' proportional share of memory (PSS) in MB."""
    return float(process.memory_full_info().pss) / 1e6
