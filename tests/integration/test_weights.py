"""Models from Cloud Storage and from the hub: the service starts from them, or says why it cannot."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from model.encoder import ModelError
from model.weights.gcs import require_space
from model.weights.hub import progress
from tests.conftest import ModelFolders
from tests.integration.test_lifecycle import start_and_fail
from tests.support.gcs import BUCKET, GcsEmulator
from tests.support.hub import COMMIT, REPOSITORY, TOKEN, Hub
from tests.support.models import TOLERANCE, probe
from tests.support.read_only import read_only
from tests.support.service import Service, wait_until
from tests.support.tissue import encode, instance, tissue

MODEL = f"gs://{BUCKET}/models/path-foundation"


@pytest.fixture
def gcs(model_folders: ModelFolders) -> Iterator[GcsEmulator]:
    with GcsEmulator() as emulator:
        folder = Path(model_folders["probe"])
        for path in folder.rglob("*"):
            if path.is_file() and path.stat().st_size:
                emulator.put(
                    f"models/path-foundation/{path.relative_to(folder).as_posix()}", path.read_bytes()
                )
        emulator.put("models/path-foundation-other/saved_model.pb", b"not this one")
        yield emulator


@pytest.fixture
def hub(model_folders: ModelFolders) -> Iterator[Hub]:
    with Hub(Path(model_folders["probe"])) as server:
        yield server


def check(environment: dict[str, str], inside: Sequence[str] = ()) -> tuple[int, str]:
    """Run ``pathserve check``; return its exit status and all that it printed."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PATHSERVE_", "AIP_", "HF_"))}
    run = subprocess.run(
        [*inside, sys.executable, "-m", "serving", "check"],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


def fetch(environment: dict[str, str], cache: Path, inside: Sequence[str] = ()) -> tuple[int, str]:
    """Fetch the model as a start does, and nothing more; return the exit status and all that is said."""
    script = (
        "import sys; from pathlib import Path\n"
        "from dicom_io.web.google_session import service_storage\n"
        "from model.encoder import ModelError; from model.weights.locate import fetch_model\n"
        "try: fetch_model(sys.argv[1], Path(sys.argv[2]), service_storage)\n"
        "except ModelError as error: sys.exit(str(error))\n"
    )
    run = subprocess.run(
        [*inside, sys.executable, "-c", script, environment["PATHSERVE_MODEL"], str(cache)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return run.returncode, run.stdout + run.stderr


def assert_probe(service: Service, name: str) -> None:
    answer = service.predict(instance(encode(tissue()), (3, 4))).json()
    assert answer["model"] == name
    (embedding,) = answer["predictions"][0]["result"]["patch_embeddings"]
    expected = probe(tissue()[np.newaxis, 4:228, 3:227])[0]
    np.testing.assert_allclose(embedding["embedding_vector"], expected, atol=TOLERANCE)


def test_the_service_starts_from_cloud_storage_and_then_from_its_cache(
    gcs: GcsEmulator, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login planted password planted\n")
    environment = {
        "PATHSERVE_MODEL": MODEL,
        "STORAGE_EMULATOR_HOST": gcs.url,
        "PATHSERVE_CACHE_DIR": str(cache),
        "NETRC": str(tmp_path / "netrc"),
    }
    with Service(environment) as service:
        assert_probe(service.wait_healthy(), "path-foundation")
        assert any("downloading model" in line["message"] for line in service.log_lines())
    downloads = gcs.downloads()
    assert downloads > 0
    status, output = check(environment, read_only(cache))
    assert status == 0, output
    assert gcs.downloads() == downloads
    assert gcs.tokens == {None}  # and not what is in netrc
    unreachable = environment | {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9"}
    status, output = fetch(unreachable, cache, read_only(cache))
    assert status == 0, output
    assert "using the cached model" in output
    (file,) = cache.glob("gcs/*/files/saved_model.pb")
    file.write_bytes(file.read_bytes() + b"\0")
    status, output = fetch(unreachable, cache)
    assert status != 0
    assert "damaged in the cache" in output
    assert "Traceback" not in output
    assert fetch(environment, cache)[0] == 0
    assert gcs.downloads() == 2 * downloads


def test_a_model_that_no_disk_can_hold_is_refused_before_it_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"needs 1000000000000 MB, but the disk of .* has \d+ MB left"):
        require_space(tmp_path, 10**18, "gs://bucket/huge")


def test_a_long_download_shows_itsprogress(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with progress(tmp_path, "hf://google/path-foundation", every_s=0.01):
        (tmp_path / "variables").write_bytes(bytes(3_000_000))
        wait_until(lambda: "downloading model: 3 MB so far" in caplog.text, "progress in the log")


def test_without_network_or_cache_the_start_says_so(tmp_path: Path) -> None:
    environment = {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9", "HF_ENDPOINT": "http://127.0.0.1:9"}
    for spec in (MODEL, f"hf://{REPOSITORY}"):
        status, output = check(environment | {"PATHSERVE_MODEL": spec, "PATHSERVE_CACHE_DIR": str(tmp_path)})
        assert status == 78
        assert "cannot be reached" in output
        assert "Traceback" not in output


def test_a_user_without_a_home_runs_a_local_model(model_folders: ModelFolders) -> None:
    """Nothing is kept, so nobody needs to know where; where something is, it is said what to set."""
    nobody = [
        "unshare",
        "--user",
        "--map-user=54321",
        "--map-group=54321",
        "env",
        "-u",
        "HOME",
        "-u",
        "XDG_CACHE_HOME",
    ]
    if subprocess.run([*nobody, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespaces here")
    status, output = check({"PATHSERVE_MODEL": model_folders["probe"]}, nobody)
    assert status == 0, output
    assert not Path("~").exists()  # what Keras calls a home that it does not find
    status, output = check({"PATHSERVE_MODEL": MODEL}, nobody)
    assert status == 78
    assert "pathserve: This user has no home folder" in output
    assert "PATHSERVE_CACHE_DIR" in output


def test_a_users_settings_of_keras_change_nothing(tmp_path: Path) -> None:
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"backend": "jax", "floatx": "float16"}')
    status, output = check({"HOME": str(tmp_path), "KERAS_BACKEND": "torch"})
    assert status == 0, output


def test_a_damaged_download_is_refused_and_leaves_nothing(gcs: GcsEmulator, tmp_path: Path) -> None:
    gcs.harm = lambda path, body: body[:-1] + b"\0" if "alt=media" in path else body
    status, output = check(
        {"PATHSERVE_MODEL": MODEL, "STORAGE_EMULATOR_HOST": gcs.url, "PATHSERVE_CACHE_DIR": str(tmp_path)}
    )
    assert status != 0
    assert "crc32c" in output
    assert "Traceback" not in output
    assert list((tmp_path / "gcs").iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (f"gs://{BUCKET}/models/nothing", "no saved_model.pb"),
        ("gs://no-such-bucket/model", "404"),
        ("gs://", "is not a model address"),
        ("hf://path-foundation", "is not a model address"),
        ("s3://bucket/model", "is not a model address"),
    ],
)
def test_a_model_that_is_not_there_stops_the_start_with_one_sentence(
    gcs: GcsEmulator, tmp_path: Path, spec: str, sentence: str
) -> None:
    status, output = start_and_fail(
        {"PATHSERVE_MODEL": spec, "STORAGE_EMULATOR_HOST": gcs.url, "PATHSERVE_CACHE_DIR": str(tmp_path)}
    )
    assert status == 78
    (said,) = [line for line in output.splitlines() if line.startswith("pathserve: ")]
    assert sentence in said
    assert "Traceback" not in output


def test_a_cache_that_cannot_be_written_is_named(gcs: GcsEmulator, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    status, output = check(
        {
            "PATHSERVE_MODEL": MODEL,
            "STORAGE_EMULATOR_HOST": gcs.url,
            "PATHSERVE_CACHE_DIR": str(tmp_path / "file"),
        }
    )
    assert status != 0
    assert "cannot be kept in" in output
    assert "(PATHSERVE_CACHE_DIR)." in output
    assert "Traceback" not in output


def test_the_service_starts_from_the_hub_and_then_from_its_cache(hub: Hub, tmp_path: Path) -> None:
    environment = {
        "PATHSERVE_MODEL": f"hf://{REPOSITORY}",
        "HF_ENDPOINT": hub.url,
        "PATHSERVE_CACHE_DIR": str(tmp_path),
    }
    with Service(environment) as service:
        assert_probe(service.wait_healthy(), REPOSITORY)
    downloads = hub.downloads()
    assert downloads > 0
    status, output = check(environment, read_only(tmp_path))
    assert status == 0, output
    unreachable = environment | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    status, output = fetch(unreachable | {"PATHSERVE_MODEL": f"hf://{REPOSITORY}@{COMMIT}"}, tmp_path)
    assert status == 0, output
    status, output = fetch(unreachable, tmp_path, read_only(tmp_path))
    assert status == 0, output
    assert "using the cached model" in output
    assert hub.downloads() == downloads


def test_a_gated_repository_wants_a_token(hub: Hub, tmp_path: Path) -> None:
    hub.gated = True
    environment = {
        "PATHSERVE_MODEL": f"hf://{REPOSITORY}@{COMMIT}",
        "HF_ENDPOINT": hub.url,
        "PATHSERVE_CACHE_DIR": str(tmp_path),
    }
    status, output = check(environment)
    assert status != 0
    assert "gated" in output
    assert "HF_TOKEN" in output
    assert "Traceback" not in output
    status, output = check(environment | {"HF_TOKEN": TOKEN})
    assert status == 0, output
    assert TOKEN not in output
    assert "golden patch" in output


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [(f"hf://{REPOSITORY}@nowhere", "no such revision"), ("hf://google/nothing", "not on the hub")],
)
def test_what_the_hub_does_not_have_is_named(hub: Hub, tmp_path: Path, spec: str, sentence: str) -> None:
    status, output = check(
        {"PATHSERVE_MODEL": spec, "HF_ENDPOINT": hub.url, "PATHSERVE_CACHE_DIR": str(tmp_path)}
    )
    assert status != 0
    assert sentence in output
    assert "Traceback" not in output


def test_half_a_download_is_never_used(hub: Hub, tmp_path: Path) -> None:
    environment = {
        "PATHSERVE_MODEL": f"hf://{REPOSITORY}",
        "HF_ENDPOINT": hub.url,
        "PATHSERVE_CACHE_DIR": str(tmp_path),
        "HF_HUB_DOWNLOAD_TIMEOUT": "2",
    }
    hub.broken = {name for name in hub.files if name.startswith("variables/")}
    status, output = check(environment)
    assert status != 0
    assert "cannot be" in output
    assert "Traceback" not in output
    status, output = check(environment | {"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert status != 0
    assert "Traceback" not in output
    hub.broken = set()
    status, output = check(environment)
    assert status == 0, output


def test_check_prints_what_would_run(model_folders: ModelFolders) -> None:
    status, output = check({"PATHSERVE_MODEL": model_folders["probe"], "HF_TOKEN": "hf_secret"})
    assert status == 0
    for said in (
        "PATHSERVE_MODEL",
        "digest    sha256:",
        "device    CPU",
        "precision float32",
        "-> [None, 384]",
        "norm",
    ):
        assert said in output
    assert "hf_secret" not in output


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PATHSERVE_MODEL": "/nowhere"}, "/nowhere"),
        ({"PATHSERVE_WORKERS": "none"}, "PATHSERVE_WORKERS"),
        ({"APPROVED_GCS_SOURCE_LIST": "hospital"}, "APPROVED_GCS_SOURCE_LIST"),
    ],
)
def test_check_fails_when_anything_is_wrong(environment: dict[str, str], said: str) -> None:
    status, output = check(environment)
    assert status != 0
    assert said in output
    assert "Traceback" not in output


def test_check_fails_when_the_precision_is_not_kept(model_folders: ModelFolders) -> None:
    status, output = check({"PATHSERVE_MODEL": model_folders["probe"], "PATHSERVE_PRECISION": "bfloat16"})
    assert status != 0
    assert "bfloat16" in output


def test_a_model_that_crashes_the_encoder_is_given_up_with_one_sentence(model_folders: ModelFolders) -> None:
    with Service({"PATHSERVE_MODEL": model_folders["probe"]}) as service:
        killed: set[int] = set()

        def crashed() -> bool:
            for pid in map(int, re.findall(r'"started encoder".*?"pid": ?(\d+)', service.log())):
                if pid not in killed:
                    killed.add(pid)
                    os.kill(pid, signal.SIGSEGV)  # as TensorFlow does, at any time while it loads
            return service.process.poll() is not None

        wait_until(crashed, "the service's end")
        assert service.process.returncode == 78
        assert "pathserve: the model crashes the encoder (SIGSEGV)" in service.log()
        assert len(killed) == 3
