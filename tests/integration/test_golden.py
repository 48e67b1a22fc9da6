"""Golden tiles of a whole service: what makes its vectors wrong makes it say so, and give none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_lifecycle import start_and_fail
from tests.support.drifting import DEAD, build_drifting, environment
from tests.support.gcs import BUCKET, GcsEmulator
from tests.support.service import Service, wait_until
from tests.support.tissue import encode, instance, tissue

Models = tuple[Path, Path, str]
"""Folders of two models that differ in their weights, and the digest of the first one's golden file."""


def pathserve(*arguments: str, **settings: str) -> tuple[int, str]:
    """Run the command; return its exit status and all that it printed."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PATHSERVE_", "AIP_"))}
    run = subprocess.run(
        [sys.executable, "-m", "serving", *arguments],
        env=inherited | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    first, second = build_drifting(tmp_path_factory.mktemp("models"), 1, 2)
    status, output = pathserve("golden", "make", PATHSERVE_MODEL=str(first))
    assert status == 0, output
    digest = json.loads((first / "golden.json").read_text())["digest"]
    assert f"digest    {digest}" in output
    return first, second, digest


def refusals(service: Service) -> list[dict[str, Any]]:
    """Return what health and predictions are refused with."""
    health = service.session.get(f"{service.url}/health", timeout=10)
    predict = service.predict(instance(encode(tissue(224, 224), "png")))
    assert (health.status_code, predict.status_code) == (503, 503)
    return [health.json()["error"], predict.json()["error"]]


def test_a_device_that_breaks_turns_health_503_and_gives_no_more_vectors_until_it_is_well(
    models: Models,
) -> None:
    folder, _, digest = models
    dead = folder.parent / DEAD
    with Service({"PATHSERVE_MODEL": str(folder), "PATHSERVE_GOLDEN_EVERY_S": "0.3"}) as service:
        service.wait_healthy()
        assert service.session.get(f"{service.url}/health").json()["golden"] == digest
        name = 'pathserve_golden_checks_total{outcome="reproduced"}'
        wait_until(lambda: service.metrics()[name] > 2, "checks beside the load")
        assert service.predict(instance(encode(tissue(224, 224), "png"))).status_code == 200
        first = service.encoder().pid
        dead.touch()
        try:
            wait_until(lambda: service.health() == 503, "the drift")
            for error in refusals(service):  # also once a fresh encoder is being loaded
                assert error["code"] == "SERVICE_UNAVAILABLE_ERROR"
                assert "8 of 8 golden patches are not reproduced; furthest off is " in error["description"]
                assert "(at least 0.99999999 needed), largest difference " in error["description"]
        finally:
            dead.unlink()
        service.wait_healthy()
        assert service.encoder().pid != first
        assert service.predict(instance(encode(tissue(224, 224), "png"))).status_code == 200
        assert service.metrics()['pathserve_golden_checks_total{outcome="missed"}'] >= 1
        lines = [line for line in service.log_lines() if line["level"] == "CRITICAL"]
        assert lines[0]["message"] == "golden patches are not reproduced"
        assert lines[0]["patches"] == 8
        assert lines[0]["cosine"] < 0.99999999


def test_commands_that_embed_by_themselves_say_so_too_and_write_nothing(
    models: Models, tmp_path: Path
) -> None:
    folder = models[0]
    picture = tmp_path / "tissue.png"
    picture.write_bytes(encode(tissue(448, 448), "png"))
    dead = folder.parent / DEAD
    dead.touch()
    try:
        status, output = pathserve("check", PATHSERVE_MODEL=str(folder))
        assert status == 1
        assert "pathserve: 8 of 8 golden patches are not reproduced; furthest off is " in output
        out = tmp_path / "vectors.parquet"
        embed = ("embed", str(picture), "--level", "0", "--all", "--out", str(out))
        status, output = pathserve(*embed, PATHSERVE_MODEL=str(folder))
        assert status == 78
        assert "pathserve: the model gives wrong vectors: 8 of 8 golden patches are not" in output
        assert not out.exists()
    finally:
        dead.unlink()


def test_a_runtime_that_answers_differently_never_gets_ready_and_says_by_how_much(
    models: Models, tmp_path: Path
) -> None:
    with Service({"PATHSERVE_MODEL": str(models[0])} | environment(tmp_path)) as service:
        wait_until(lambda: "golden patches" in service.log(), "the first check", 120)
        wait_until(
            lambda: "golden patches" in service.session.get(f"{service.url}/health").text, "the finding"
        )
        for error in refusals(service):
            assert "golden patches are not reproduced; furthest off is " in error["description"]
        assert service.predict(instance(encode(tissue(224, 224), "png"))).headers["Retry-After"] == "60"


def test_other_weights_under_a_golden_file_stop_the_start(models: Models, tmp_path: Path) -> None:
    first, second, digest = models
    golden = str(first / "golden.json")
    status, output = start_and_fail({"PATHSERVE_MODEL": str(second), "PATHSERVE_GOLDEN": golden})
    assert status == 78
    (said,) = [line for line in output.splitlines() if line.startswith("pathserve: ")]
    assert "its vectors are of the model 1 (sha256:" in said
    assert "and 2 (sha256:" in said
    # The graph is the same, and so are the names: nothing else would notice.
    mixed = tmp_path / "mixed"
    shutil.copytree(first, mixed)
    shutil.rmtree(mixed / "variables")
    shutil.copytree(second / "variables", mixed / "variables")
    status, output = pathserve("check", PATHSERVE_MODEL=str(mixed))
    assert status == 78
    assert "other weights" in output
    status, output = pathserve("check", PATHSERVE_MODEL=str(first), PATHSERVE_GOLDEN_DIGEST=digest)
    assert status == 0, output
    assert "8 golden patches are reproduced; furthest off is " in output


def test_a_golden_file_comes_with_its_weights_from_cloud_storage(models: Models, tmp_path: Path) -> None:
    folder, _, digest = models
    with GcsEmulator() as gcs:
        for path in folder.rglob("*"):
            if path.is_file() and path.stat().st_size:
                gcs.put(f"models/1/{path.relative_to(folder).as_posix()}", path.read_bytes())
        status, output = pathserve(
            "check",
            PATHSERVE_MODEL=f"gs://{BUCKET}/models/1",
            PATHSERVE_CACHE_DIR=str(tmp_path),
            STORAGE_EMULATOR_HOST=gcs.url,
        )
    assert status == 0, output
    assert f"  digest    {digest}" in output
    assert "8 golden patches are reproduced" in output


def test_a_golden_file_is_not_overwritten_and_one_that_was_changed_is_refused(
    models: Models, tmp_path: Path
) -> None:
    first, _, digest = models
    status, output = pathserve("golden", "make", PATHSERVE_MODEL=str(first))
    assert status == 1
    assert "golden.json is there already; name another file, or remove it." in output
    changed = tmp_path / "golden.json"
    changed.write_text((first / "golden.json").read_text().replace('"device": "CPU"', '"device": "GPU"'))
    status, output = pathserve("check", PATHSERVE_MODEL=str(first), PATHSERVE_GOLDEN=str(changed))
    assert status == 78
    assert "was changed since it was made: its SHA-256 is sha256:" in output
    assert digest in output
    status, output = pathserve("golden", "make")
    assert status == 1
    assert "builtin:vit-s16 has no folder on this machine to write to; name a file by --out." in output
