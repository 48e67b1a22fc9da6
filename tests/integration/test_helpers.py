"""Decoders that crash and never end, in a real service: what stands beside them is served."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests

from tests.conftest import ModelFolders
from tests.support.models import TOLERANCE, probe
from tests.support.service import Service
from tests.support.tissue import encode, instance, tissue

# Found first on the path of the decoding helpers: decoders that do as an image's description says.
FAULTY = """
import os, signal, sys
if "dicom_io.decoding.child" in sys.orig_argv:
    import dicom_io.codecs.raster as child
    whole = child.RasterFile.decode
    def decode(self):
        if b"crash" in child.DATA:
            os.kill(os.getpid(), signal.SIGSEGV)
        while b"endless" in child.DATA:
            pass
        return whole(self)
    made = child.RasterFile.__init__
    def init(self, data, *rest):
        child.DATA = data
        made(self, data, *rest)
    child.RasterFile.__init__, child.RasterFile.decode = init, decode
"""


def tiff(description: str) -> bytes:
    return encode(tissue(224, 224), "TIFF", compression="tiff_lzw", description=description)


@pytest.fixture(scope="module")
def service(model_folders: ModelFolders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "sitecustomize.py").write_text(FAULTY)
    environment = {
        "PATHSERVE_MODEL": model_folders["probe"],
        "PATHSERVE_WORKERS": "1",
        "PYTHONPATH": os.pathsep.join([str(folder), str(Path.cwd())]),
    }
    with Service(environment) as service:
        yield service.wait_healthy()


def helpers(service: Service) -> list[psutil.Process]:
    return [p for w in service.workers() for p in w.children() if "dicom_io.decoding.child" in p.cmdline()]


def vector(prediction: dict[str, dict[str, list[dict[str, list[float]]]]]) -> np.ndarray:
    return np.array(prediction["result"]["patch_embeddings"][0]["embedding_vector"], np.float32)


def test_a_crashing_decoder_costs_its_own_instance(service: Service) -> None:
    before = [worker.pid for worker in service.workers()]
    first, second, third = service.predict(
        instance(tiff("fine")), instance(tiff("crash")), instance(encode(tissue(224, 224)))
    ).json()["predictions"]
    right = probe(tissue(224, 224)[np.newaxis])[0]
    np.testing.assert_allclose(vector(first), right, atol=TOLERANCE)
    np.testing.assert_allclose(vector(third), right, atol=TOLERANCE)
    assert second["error"]["code"] == "IMAGE_ERROR"
    assert "SIGSEGV" in second["error"]["description"]
    assert [worker.pid for worker in service.workers()] == before


def test_endless_decoders_keep_nobody_waiting_who_sends_what_is_decoded_here(service: Service) -> None:
    hostile: list[requests.Response] = []
    threads = [
        threading.Thread(target=lambda: hostile.append(service.predict(*[instance(tiff("endless"))] * 2)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    jpeg = instance(encode(tissue(224, 224), "JPEG"))
    answered = 0
    while any(thread.is_alive() for thread in threads):
        (prediction,) = requests.post(
            f"{service.url}/predict", json={"instances": [jpeg]}, timeout=60
        ).json()["predictions"]
        assert "result" in prediction
        answered += 1
    assert answered >= 10, "each endless image takes seconds, a JPEG milliseconds"
    faults = [p["error"] for response in hostile for p in response.json()["predictions"]]
    assert len(faults) == 4
    assert all("longer to decode" in fault["description"] for fault in faults)
    assert service.health() == 200


def test_a_helper_that_is_killed_under_requests_costs_none_of_them(service: Service) -> None:
    right = probe(tissue(224, 224)[np.newaxis])[0]
    service.predict(instance(tiff("fine")))
    answers: list[requests.Response] = []

    for turn in range(4):
        thread = threading.Thread(
            target=lambda: answers.append(service.predict(*[instance(tiff("fine"))] * 30))
        )
        thread.start()
        # One at a time: a job that another has been given by then would be ended for the second time with it.
        found = helpers(service)
        found[turn % len(found)].kill()
        thread.join()
    predictions = [p for answer in answers for p in answer.json()["predictions"]]
    assert len(predictions) == 120
    for prediction in predictions:
        np.testing.assert_allclose(vector(prediction), right, atol=TOLERANCE)
