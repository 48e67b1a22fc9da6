"""Clients as they are, reading a slide from the store; the service, reading it from the files beside it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import simplejpeg

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import IccTransform
from dicom_io.resampling import resize
from serving.store.access.roles import Permission
from tests.conftest import ModelFolders
from tests.support.asking import cut
from tests.support.ez_wsi_client import Job
from tests.support.models import TOLERANCE, probe
from tests.support.predicting import vectors
from tests.support.service import Service
from tests.support.slide_store import ServedStore
from tests.support.slides import pyramid

ROOT = Path(__file__).parents[2]
OLDER = Path(sys.prefix) / "ez-wsi-6.0"
WSIDICOM = Path(sys.prefix) / "wsidicom"
"""Where ``make`` puts packages that do not go with those of the environment."""

PROFILE = target_profile(IccTarget.ADOBERGB) + bytes(3000)


class Shared:
    """A store with a slide that has a profile, and another that is none of the token's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ServedStore(folder)
        self.slide = pyramid("JPEG", [(1000, 700), (500, 350)], ICCProfile=PROFILE)
        for slide in (self.slide, pyramid()):
            self.store.add_slide(slide)
        self.token = self.store.token(Permission(frozenset({self.slide.study})))
        self.path = self.store.series_path(self.slide)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    shared = Shared(tmp_path_factory.mktemp("store"))
    with shared.store:
        yield shared


@pytest.fixture(scope="module", params=["by HTTP", "from its files"])
def service(request: pytest.FixtureRequest, shared: Shared, model_folders: ModelFolders) -> Iterator[Service]:
    """A service of one worker with few threads, which reads the store in one way or the other."""
    own = {
        "PATHSERVE_STORE_DIR": str(shared.folder),
        "PATHSERVE_STORE_URL": shared.store.url,
        "PATHSERVE_WORKERS": "1",
        "PATHSERVE_THREADS": "4",
    }
    settings = own if request.param == "from its files" else {}
    with Service({"PATHSERVE_MODEL": model_folders["probe"]} | settings) as running:
        yield running.wait_healthy()


def test_dicomweb_client_and_wsidicom_read_a_slide(shared: Shared, tmp_path: Path) -> None:
    slide, out = shared.slide, tmp_path / "out.npz"
    command = [sys.executable, "-m", "tests.support.dicomweb_readers", shared.store.url, shared.token]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(WSIDICOM), str(ROOT)])}
    done = subprocess.run(
        [*command, slide.study, slide.series, str(out)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(out) as saved:
        found = dict(saved)
    first = slide.instances[0]
    assert found["studies"].tolist() == [slide.study], "no other study is there for this token"
    assert sorted(found["study"].tolist()) == sorted(each.uid for each in slide.instances)
    for number in (1, 2):
        frame = first.frames[number - 1]
        assert found[f"frame {number}"].tobytes()[: len(frame)] == frame
    assert found["profile"].tobytes() == PROFILE
    assert simplejpeg.decode_jpeg(found["rendered"].tobytes()).shape == (256, 256, 3)
    assert found["levels"].tolist() == [[1000, 700], [500, 350]]
    np.testing.assert_array_equal(found["region"], first.truth[50:350, 100:500])


@pytest.mark.parametrize("older", [False, True], ids=["current", "6.0"])
def test_ez_wsi_dicomweb_embeds_a_slide(
    shared: Shared, service: Service, tmp_path: Path, older: bool
) -> None:
    truth = shared.slide.instances[0].truth
    some = [(0, 0), (300, 200), (776, 476)]
    common: dict[str, Any] = {"kind": "slide", "where": shared.path, "token": shared.token}
    jobs = {
        "some": (truth, Job("some", origins=some, **common)),
        "resized": (resize(truth, 500, 350), Job("resized", origins=[(0, 0)], resize=(500, 350), **common)),
        "coloured": (
            IccTransform(target_profile(IccTarget.ADOBERGB), IccTarget.SRGB, 3)(truth),
            Job("coloured", origins=some, icc=IccTarget.SRGB, **common),
        ),
    }
    task, out = tmp_path / "jobs.json", tmp_path / "out.npz"
    endpoint = f"{service.url}/v1/projects/p/locations/l/endpoints/1:predict"
    listed = [dataclasses.asdict(job) for _, job in jobs.values()]
    task.write_text(json.dumps({"endpoint": endpoint, "jobs": listed}))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(OLDER)] * older + [str(ROOT)]),
        "GOOGLE_CLOUD_PROJECT": "p",
    }
    command = [sys.executable, "-m", "tests.support.ez_wsi_client", str(task), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(out) as saved:
        found = dict(saved)
    for name, (pixels, job) in jobs.items():
        assert f"{name}/error" not in found, found[f"{name}/error"]
        expected = probe(np.stack(cut(pixels, *job.origins)))
        np.testing.assert_allclose(found[f"{name}/vectors"], expected, atol=TOLERANCE, err_msg=name)


def ask(shared: Shared, token: str | None) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "dicom_path": {"series_path": shared.path, "instance_uids": [shared.slide.instances[0].uid]},
        "patch_coordinates": [{"x_origin": 10, "y_origin": 20}],
    }
    return asked if token is None else asked | {"bearer_token": token}


def test_a_series_of_the_own_store_has_the_codes_and_vectors_of_any(shared: Shared, service: Service) -> None:
    elsewhere = shared.store.token(Permission(frozenset({"1.2.3"})))
    asked = [shared.token, None, "unknown", shared.store.token(lasts_s=-1), elsewhere]
    answers = service.predict(*(ask(shared, token) for token in asked)).json()["predictions"]
    np.testing.assert_allclose(
        vectors(answers[0]), probe(np.stack(cut(shared.slide.instances[0].truth, (10, 20)))), atol=TOLERANCE
    )
    codes = [answer["error"]["code"] for answer in answers[1:]]
    assert codes == ["INVALID_CREDENTIALS_ERROR"] * 3 + ["DICOM_PATH_ERROR"]
    for token in (shared.token, elsewhere):
        assert token not in service.log()


def test_a_service_with_a_store_of_its_own_opens_no_socket_to_it(
    shared: Shared, service: Service, request: pytest.FixtureRequest
) -> None:
    service.predict(ask(shared, shared.token))
    http = [
        connection
        for process in psutil.Process(service.process.pid).children(recursive=True)
        for connection in process.net_connections("tcp")
        if connection.raddr and connection.raddr.port == shared.store.front.port
    ]
    is_own = "from its files" in request.node.name
    assert (not http) == is_own, "by HTTP a connection is kept for the next request"
