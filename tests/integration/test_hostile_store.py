"""A DICOMweb store that means harm: answers without end, that unfold, that promise the impossible."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator

import pytest

from tests.benchmarks.load import memory_megabytes
from tests.conftest import ModelFolders
from tests.support.asking import ask, code_of, error
from tests.support.loopback import Handler, Loopback
from tests.support.service import Service, wait_until
from tests.support.slides import Slide, pyramid
from tests.support.store import Answer, Request, Store

JSON = {"Content-Type": "application/dicom+json"}


@pytest.fixture
def slide() -> Slide:
    return pyramid("JPEG", [(500, 400)])


def answering(store: Store, part: str, answer: Answer) -> None:
    """Let the store answer so wherever a part of a path is asked for."""

    def override(request: Request) -> Answer | None:
        return answer if part in request.path else None

    store.behaviour.override = override


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" + b"{}," * 2_000_000 + b"{}]", "DICOM_ERROR"),
        (b"[" * 3_000_000, "DICOM_ERROR"),
        (b"[" + b'{"00080018":{}},' * 20_000 + b"{}]", "DICOM_ERROR"),
        (b'[{"00280008":{"Value":[' + b"9" * 5_000_000 + b"]}}]", "DICOM_ERROR"),
        (b" " * 70_000_000, "HTTP_ERROR"),
    ],
    ids=["unfolds", "nests", "too many instances", "a number of five million digits", "too long"],
)
def test_metadata_that_are_too_much_are_refused(
    probe_service: Service, slide: Slide, body: bytes, code: str
) -> None:
    with Store(slide) as store:
        answering(store, "metadata", (200, JSON, body))
        assert code_of(probe_service, ask(store, slide, [slide.instances[0].uid])) == code


@pytest.mark.parametrize("part", ["metadata", "frames"])
def test_compressed_answers_are_refused_not_unpacked(probe_service: Service, slide: Slide, part: str) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with Store(slide) as store:
        answering(store, part, (200, JSON | {"Content-Encoding": "gzip"}, bomb))
        assert code_of(probe_service, ask(store, slide, [slide.instances[0].uid])) == "HTTP_ERROR"


def test_billions_of_frames_cost_only_those_that_are_asked_for(probe_service: Service, slide: Slide) -> None:
    level = slide.instances[0]
    side = 256 * 40_000
    level.dataset.TotalPixelMatrixRows = level.dataset.TotalPixelMatrixColumns = side
    level.dataset.NumberOfFrames = 40_000**2
    with Store(slide) as store:
        far = ask(store, slide, [level.uid], (side - 300, side - 300))
        assert code_of(probe_service, far) == "HTTP_ERROR"  # the store has no such frames
        assert all(request.path.count(",") < 8 for request in store.frame_requests())


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/", "http://127.0.0.1:9/x", "file:///etc/passwd"]
)
def test_redirects_of_frames_lead_nowhere(probe_service: Service, slide: Slide, location: str) -> None:
    with Store(slide) as store:
        answering(store, "frames", (302, {"Location": location}, b""))
        found = error(probe_service, ask(store, slide, [slide.instances[0].uid], token="planted"))
        assert found["code"] in ("HTTP_ERROR", "DICOM_PATH_ERROR")


class Endless:
    """A store whose answers never end: as fast as they are read, or a byte now and then."""

    def __init__(self, pause_s: float, piece: bytes) -> None:
        endless = self
        self.stop = threading.Event()
        self.begun = 0

        class EndlessHandler(Handler):
            def respond(self) -> None:
                endless.begun += 1
                self.send_response(200)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                while not endless.stop.wait(pause_s):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.close_connection = True

        self.server = Loopback(EndlessHandler)

    @property
    def path(self) -> str:
        return f"{self.server.origin}/studies/1.2/series/3.4"

    def end(self) -> None:
        self.stop.set()
        self.server.end()


@pytest.fixture
def flood() -> Iterator[Endless]:
    store = Endless(0.0, b" " * 65_536)
    yield store
    store.end()


def test_an_answer_without_end_is_cut_off(probe_service: Service, slide: Slide, flood: Endless) -> None:
    before = sum(memory_megabytes(process) for process in probe_service.workers())
    started = time.monotonic()
    with Store(slide) as store:
        for _ in range(3):
            assert code_of(probe_service, ask(store, slide, ["1.2.3"], path=flood.path)) == "HTTP_ERROR"
    assert time.monotonic() - started < 60
    assert sum(memory_megabytes(process) for process in probe_service.workers()) < before + 250


def test_a_dripping_store_does_not_keep_others_waiting(probe_service: Service, slide: Slide) -> None:
    drip = Endless(0.2, b" ")
    results: list[str] = []
    session = probe_service.session
    with Store(slide) as store:
        hanging = ask(store, slide, ["1.2.3"], path=drip.path)
        good = ask(store, slide, [slide.instances[0].uid])
        sender = threading.Thread(
            target=lambda: results.append(probe_service.predict(hanging, good).text), daemon=True
        )
        sender.start()
        for _ in range(3):
            answer = session.post(f"{probe_service.url}/predict", json={"instances": [good]}, timeout=30)
            assert "result" in answer.json()["predictions"][0]
        assert not results
        drip.end()  # the store dies in the middle of its answer
        sender.join(60)
    assert '"HTTP_ERROR"' in results[0]
    assert '"result"' in results[0]


def test_a_store_that_never_answers_leaves_threads_to_others(
    model_folders: ModelFolders, slide: Slide
) -> None:
    drip = Endless(0.5, b" ")
    environment = {"PATHSERVE_MODEL": model_folders["probe"], "PATHSERVE_WORKERS": "1"}
    with Service(environment) as service, Store(slide) as store:
        service.wait_healthy()
        series = [f"{drip.server.origin}/studies/1.2/series/3.{n}" for n in range(40)]
        hanging = [ask(store, slide, ["1.2.3"], path=path) for path in series]
        senders = [
            threading.Thread(target=service.predict, args=hanging[n : n + 10], daemon=True)
            for n in range(0, 40, 10)
        ]
        for sender in senders:
            sender.start()
        wait_until(lambda: drip.begun >= 16, "what the store gets of the threads")
        started = time.monotonic()
        for token in ("one", "two", "three"):
            good = ask(store, slide, [slide.instances[0].uid], token=token)
            answer = service.session.post(f"{service.url}/predict", json={"instances": [good]}, timeout=60)
            assert "result" in answer.json()["predictions"][0]
        assert time.monotonic() - started < 30
        assert drip.begun == 16
        drip.end()
        for sender in senders:
            sender.join(60)
