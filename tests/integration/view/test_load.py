"""A worker that is asked for many tiles makes them cheaply, stays healthy, and ends when it is told to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from tests.conftest import ModelFolders
from tests.support.local_slides import write_dicom
from tests.support.service import Service
from tests.support.slides import CODINGS, Slide, stained

ACROSS, DOWN = 24, 20
CLIENTS = 6
HEALTHS = 100


@pytest.fixture
def service(model_folders: ModelFolders, tmp_path: Path) -> Iterator[Service]:
    """One worker, and a slide whose tiles must be decoded and encoded: JPEG of RGB."""
    slide = Slide()
    slide.add_level(stained(ACROSS * 256, DOWN * 256), CODINGS["JPEG RGB"])
    write_dicom(tmp_path / "slide", slide)
    environment = {
        "PATHSERVE_MODEL": model_folders["probe"],
        "PATHSERVE_VIEW": "1",
        "PATHSERVE_VIEW_FOLDER": str(tmp_path),
        "PATHSERVE_WORKERS": "1",
    }
    with Service(environment) as found:
        yield found.wait_healthy()


def health_s(service: Service) -> float:
    asked = time.monotonic()
    assert service.health() == 200
    return time.monotonic() - asked


def processor_s(service: Service) -> float:
    """Return what the worker and its helpers have taken of the processor."""
    (worker,) = service.workers()
    times = [process.cpu_times() for process in [worker, *worker.children(recursive=True)]]
    return sum(one.user + one.system for one in times)


def fetch_row(address: str, row: int) -> list[int]:
    with requests.Session() as session:
        session.trust_env = False
        urls = [f"{address}/tiles/0/{column}_{row}.jpg" for column in range(ACROSS)]
        return [session.get(url, timeout=60).status_code for url in urls]


def test_hundreds_of_tiles_take_a_second_of_one_core_while_health_is_answered_and_the_end_is_quick(
    service: Service,
) -> None:
    slide = service.session.get(f"{service.url}/view/slides", timeout=60).json()["slides"][0]["slide"]
    address = f"{service.url}/view/slides/{slide}"
    opened = service.session.post(f"{service.url}/view/open", json={"slide": slide}, timeout=60).json()
    assert opened["levels"][0] == {"width": 6144, "height": 5120, "tile_width": 256, "tile_height": 256}
    # Machines are shared: what a health takes when there is nothing else to do says how busy this one is.
    idle = statistics.median(health_s(service) for _ in range(HEALTHS))
    slower = max(1.0, idle / 0.003)
    before = processor_s(service)
    with ThreadPoolExecutor(CLIENTS) as pool:
        rows = [pool.submit(fetch_row, address, row) for row in range(DOWN)]
        waits = []
        while not all(row.done() for row in rows):
            waits.append(health_s(service))
    assert {status for row in rows for status in row.result()} == {200}
    assert (processor_s(service) - before) / (ACROSS * DOWN) <= 1 / 300
    assert statistics.quantiles(waits, n=100)[98] <= 0.1 * slower, (idle, max(waits))
    (worker,) = service.workers()
    begun = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - begun <= 5 * slower
    assert not psutil.pid_exists(worker.pid)
