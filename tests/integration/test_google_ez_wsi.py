"""ez-wsi-dicomweb, unchanged, against this service: the current release and the last 6.0."""

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
import pytest

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import IccTransform
from dicom_io.resampling import resize
from tests.conftest import ModelFolders
from tests.support.asking import cut
from tests.support.ez_wsi_client import Job
from tests.support.gcs import PRIVATE, GcsEmulator
from tests.support.models import TOLERANCE, probe
from tests.support.service import Service
from tests.support.slides import CODINGS, MICROSCOPIC, Slide, pyramid, stained
from tests.support.store import Behaviour, Request, Store
from tests.support.tissue import UInt8Array, encode, tissue

ROOT = Path(__file__).parents[2]
OLDER = Path(sys.prefix) / "ez-wsi-6.0"
"""Where ``make`` puts the older release, without touching the environment's own."""

PROFILE = target_profile(IccTarget.ADOBERGB)
TARGETS = [target for target in IccTarget if target is not IccTarget.NONE]


@dataclasses.dataclass
class Notebook:
    """What a run of the client gave, and the images that it was about.

    Attributes
    ----------
    found:
        Vectors and origins, or the error, by job and kind.
    truth:
        What each job's patches are cut from.
    asked:
        What the service asked of the DICOM store.
    """

    found: dict[str, Any]
    jobs: dict[str, Job]
    truth: dict[str, UInt8Array]
    asked: list[Request]

    def assert_right(self, name: str, *, by_client: bool = False) -> None:
        """Hold a job's vectors to the pixels at the origins that the client says they are of.

        Or, ``by_client``, to the pixels as the client itself cuts and transforms them.
        """
        assert f"{name}/error" not in self.found, self.found[f"{name}/error"]
        vectors, origins = self.found[f"{name}/vectors"], self.found[f"{name}/origins"]
        if not self.jobs[name].all_patches:
            assert origins.tolist() == [list(origin) for origin in self.jobs[name].origins]
        patches = self.found[f"{name}/pixels"] if by_client else cut(self.truth[name], *origins)
        np.testing.assert_allclose(vectors, probe(np.stack(patches)), atol=TOLERANCE, rtol=0, err_msg=name)


class Jobs:
    """Jobs with the images that their patches are cut from."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.truth: dict[str, UInt8Array] = {}

    def add(self, truth: UInt8Array, name: str, kind: str, where: str, **options: Any) -> None:
        self.jobs.append(Job(name, kind, where, **options))
        self.truth[name] = truth


@pytest.fixture(scope="module")
def gcs() -> Iterator[GcsEmulator]:
    with GcsEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def service(gcs: GcsEmulator, model_folders: ModelFolders) -> Iterator[Service]:
    environment = {"PATHSERVE_MODEL": model_folders["probe"], "STORAGE_EMULATOR_HOST": gcs.url}
    with Service(environment) as running:
        yield running.wait_healthy()


@pytest.fixture(scope="module", params=["current", "6.0"])
def notebook(
    request: pytest.FixtureRequest,
    gcs: GcsEmulator,
    service: Service,
    tmp_path_factory: pytest.TempPathFactory,
) -> Notebook:
    folder = tmp_path_factory.mktemp("notebook")
    older = request.param == "6.0"
    targets = [t for t in TARGETS if not (older and t is IccTarget.DISPLAYP3)]  # newer than 6.0
    jobs = Jobs()
    slide, public_slide = pyramid("JPEG", [(1000, 700), (500, 350)]), pyramid("JPEG", [(500, 350)])
    coloured = pyramid("JPEG", [(500, 400)], ICCProfile=PROFILE)
    microscope, planar = Slide(), pyramid("planar", [(500, 400)])
    microscope.add_single(stained(300, 260), CODINGS["JPEG"], MICROSCOPIC)
    behaviour = Behaviour(tokens={"good-token"})
    with (
        Store(slide, coloured, microscope, planar, behaviour=behaviour) as store,
        Store(public_slide) as public,
    ):
        _slide(jobs, store.series_path(slide), slide.instances[0].truth)
        pixels = public_slide.instances[0].truth
        jobs.add(pixels, "without credentials", "slide", public.series_path(public_slide))
        for target in targets:
            pixels = IccTransform(PROFILE, target, 3)(coloured.instances[0].truth)
            jobs.add(pixels, f"a slide to {target}", "slide", store.series_path(coloured),
                     origins=[(50, 60), (0, 0)], icc=target, token="good-token")  # fmt: skip
        for name, other, kind in (
            ("a microscope image", microscope, "microscope"),
            ("a planar slide", planar, "slide"),
        ):
            jobs.add(other.instances[0].truth, name, kind, store.series_path(other), token="good-token")
        _objects(jobs, gcs)
        _images(jobs, folder)
        for target in targets:
            _file(jobs, folder, target)
        found = _run(folder, jobs.jobs, service, gcs, older=older)
        asked = [r for r in store.requests if r.headers.get("user-agent", "").startswith("python-urllib3")]
        return Notebook(found, {job.name: job for job in jobs.jobs}, jobs.truth, asked)


def _slide(jobs: Jobs, where: str, truth: UInt8Array) -> None:
    common: dict[str, Any] = {"kind": "slide", "where": where, "token": "good-token"}
    some = [(0, 0), (300, 200), (776, 476)]
    jobs.add(truth, "one patch", origins=[(7, 9)], **common)
    jobs.add(truth, "some patches", origins=some, max_patches=2, **common)
    jobs.add(truth, "an expired token", origins=some, expired_first=True, **common)
    jobs.add(truth, "the whole level", all_patches=True, max_patches=5, **common)
    jobs.add(truth, "an ensemble", origins=[(10, 20)], side=448, **common)
    jobs.add(resize(truth, 500, 350), "a resized level", origins=[(0, 0), (276, 126)], resize=(500, 350),
             **common)  # fmt: skip


def _objects(jobs: Jobs, gcs: GcsEmulator) -> None:
    uri = gcs.put("ez/tissue.png", encode(tissue()), PRIVATE)
    common: dict[str, Any] = {"kind": "gcs", "where": uri, "token": "good-token"}
    some = [(7, 9), (288, 288)]
    jobs.add(tissue(), "an object", origins=some, **common)
    jobs.add(tissue(), "an object, its pixels sent", origins=some, send_bytes=True, **common)
    jobs.add(tissue(), "an object, expired token", origins=some, expired_first=True, **common)
    jobs.add(resize(tissue(), 300, 300), "a resized object", origins=[(76, 76)], resize=(300, 300), **common)


def _images(jobs: Jobs, folder: Path) -> None:
    big, gray = stained(1120, 1120), np.ascontiguousarray(tissue()[:, :, 0])
    paths = []
    for name, array in (("rgb", tissue()), ("gray", gray), ("big", big)):
        paths.append(str(folder / f"{name}.npy"))
        np.save(paths[-1], array)
    some = [(0, 0), (288, 11)]
    jobs.add(tissue(), "an RGB array", "array", paths[0], origins=some)
    jobs.add(np.repeat(gray[:, :, np.newaxis], 3, axis=2), "a gray array", "array", paths[1], origins=some)
    smaller = resize(tissue(), 256, 256)
    jobs.add(smaller, "a resized array", "array", paths[0], origins=[(9, 32)], resize=(256, 256))
    jobs.add(big, "more than a request holds", "array", paths[2], all_patches=True)


def _file(jobs: Jobs, folder: Path, target: IccTarget) -> None:
    """Add an image with a profile: sent whole where its patches cover it, else as patches."""
    path, pixels = folder / "profile.png", tissue()[:224, :448]
    path.write_bytes(encode(pixels, "PNG", icc_profile=PROFILE))
    truth = IccTransform(PROFILE, target, 3)(pixels)
    jobs.add(truth, f"a file to {target}", "file", str(path), origins=[(0, 0), (224, 0)], icc=target)
    jobs.add(truth, f"a file's patches to {target}", "file", str(path), origins=[(100, 0)], icc=target)


def _run(folder: Path, jobs: list[Job], service: Service, gcs: GcsEmulator, *, older: bool) -> dict[str, Any]:
    task, out = folder / "jobs.json", folder / "out.npz"
    endpoint = f"{service.url}/v1/projects/p/locations/l/endpoints/1:predict"
    task.write_text(json.dumps({"endpoint": endpoint, "jobs": [dataclasses.asdict(job) for job in jobs]}))
    path = [str(OLDER)] * older + [str(ROOT)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "GOOGLE_CLOUD_PROJECT": "p"}
    environment["STORAGE_EMULATOR_HOST"] = gcs.url
    command = [sys.executable, "-m", "tests.support.ez_wsi_client", str(task), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(out) as found:
        return dict(found)


def test_slides_give_right_vectors_native_resized_in_batches_and_whole(notebook: Notebook) -> None:
    for name in ("one patch", "some patches", "a resized level", "the whole level", "without credentials",
                 "a microscope image", "a planar slide"):  # fmt: skip
        notebook.assert_right(name)
    assert len({tuple(origin) for origin in notebook.found["the whole level/origins"].tolist()}) == 12


def test_an_ensemble_is_the_mean_of_its_patches(notebook: Notebook) -> None:
    truth = notebook.truth["an ensemble"]
    patches = cut(truth, (10, 20), (234, 20), (10, 244), (234, 244), (122, 132))
    expected = probe(np.stack(patches)).mean(axis=0)
    np.testing.assert_allclose(notebook.found["an ensemble/vectors"][0], expected, atol=TOLERANCE)


def test_objects_give_right_vectors_read_or_sent_along(notebook: Notebook) -> None:
    for name in ("an object", "an object, its pixels sent", "a resized object"):
        notebook.assert_right(name)


def test_arrays_in_memory_give_right_vectors(notebook: Notebook) -> None:
    for name in ("an RGB array", "a gray array", "a resized array", "more than a request holds"):
        notebook.assert_right(name)
    assert len(notebook.found["more than a request holds/origins"]) == 25


def test_every_icc_normalisation_is_done_once_here_or_by_the_client(notebook: Notebook) -> None:
    names = [name for name in notebook.jobs if " to " in name]
    assert len(names) >= 9
    for name in names:
        notebook.assert_right(name, by_client="patches" in name)  # its sRGB is not ours


def test_an_expired_token_is_asked_for_again(notebook: Notebook) -> None:
    for name in ("an expired token", "an object, expired token"):
        notebook.assert_right(name)
    tokens = [request.token for request in notebook.asked]
    assert "Bearer expired-token" in tokens


def test_metadata_that_the_client_sends_are_not_asked_of_the_store(notebook: Notebook) -> None:
    """Only where the client leaves out what right pixels need: profiles and planar configuration."""
    series = {name: notebook.jobs[name].where.partition("/studies/")[2] for name in notebook.jobs}
    asked = [request.path for request in notebook.asked if request.path.endswith("/metadata")]
    assert not any(series["one patch"] in path for path in asked)
    assert not any(series["a microscope image"] in path for path in asked)
    assert any(series["a planar slide"] in path for path in asked)
