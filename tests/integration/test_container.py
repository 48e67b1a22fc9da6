"""The service as its container runs it: as PID 1, with a read-only root, on disks that fill up."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.conftest import ModelFolders
from tests.support.container import environment_of, fill, has_namespaces, like_a_container
from tests.support.models import TOLERANCE, probe
from tests.support.service import Service, wait_until
from tests.support.tissue import encode, instance, tissue

PATCH = tissue()[:224, :224]


@pytest.fixture
def contained(tmp_path: Path, model_folders: ModelFolders) -> Iterator[Service]:
    if not has_namespaces():
        pytest.skip("the kernel does not let this user make namespaces")
    environment = {"PATHSERVE_MODEL": model_folders["slow"]} | environment_of(tmp_path)
    with Service(environment, inside=like_a_container(tmp_path, "8m")) as service:
        yield service.wait_healthy()


def assert_right(service: Service) -> None:
    answer = service.predict(instance(encode(PATCH)))
    (prediction,) = answer.json()["predictions"]
    vector = prediction["result"]["patch_embeddings"][0]["embedding_vector"]
    np.testing.assert_allclose(vector, probe(PATCH[np.newaxis])[0], atol=TOLERANCE)


def test_as_pid_1_with_a_read_only_root_it_drains_and_ends_with_0(contained: Service) -> None:
    launcher = contained.launcher()
    assert Path(f"/proc/{launcher.pid}/status").read_text().split("NSpid:")[1].split()[1] == "1"
    with ThreadPoolExecutor(1) as pool:
        many = instance(encode(tissue(), "JPEG"), *[(i, 0) for i in range(20)])
        answer = pool.submit(contained.predict, many)
        wait_until(lambda: contained.metrics().get("pathserve_batch_size_count", 0.0) > 0, "the first batch")
        launcher.terminate()
        assert len(answer.result().json()["predictions"][0]["result"]["patch_embeddings"]) == 20
    assert contained.process.wait(60) == 0


def test_a_full_disk_ends_no_process_and_keeps_none_from_being_replaced(
    contained: Service, tmp_path: Path
) -> None:
    disk = Path(f"/proc/{contained.launcher().pid}/root{tmp_path}")
    fill(disk / "filler")
    assert_right(contained)
    killed = [*contained.workers(), contained.encoder()]
    for process in killed:
        process.kill()
    wait_until(lambda: not any(psutil.pid_exists(process.pid) for process in killed), "the end")
    contained.wait_healthy()
    for _ in range(6):  # both workers
        assert_right(contained)
    assert contained.metrics()["pathserve_encoder_restarts_total"] == 1
