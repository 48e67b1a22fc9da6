"""A DICOMweb store that means harm: answers without end, that unfold, that promise the impossible."""

from __future__ import annotations

import gzip
import threading
import time

import pytest

from tests.support.app import App
from tests.support.asking import ask, code_of, error
from tests.support.endless import Endless
from tests.support.service import wait_until
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
def test_metadata_that_are_too_much_are_refused(probe_app: App, slide: Slide, body: bytes, code: str) -> None:
    with Store(slide) as store:
        answering(store, "metadata", (200, JSON, body))
        assert code_of(probe_app, ask(store, slide, [slide.instances[0].uid])) == code


@pytest.mark.parametrize("part", ["metadata", "frames"])
def test_compressed_answers_are_refused_not_unpacked(probe_app: App, slide: Slide, part: str) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with Store(slide) as store:
        answering(store, part, (200, JSON | {"Content-Encoding": "gzip"}, bomb))
        assert code_of(probe_app, ask(store, slide, [slide.instances[0].uid])) == "HTTP_ERROR"


def test_billions_of_frames_cost_only_those_that_are_asked_for(probe_app: App, slide: Slide) -> None:
    level = slide.instances[0]
    side = 256 * 40_000
    level.dataset.TotalPixelMatrixRows = level.dataset.TotalPixelMatrixColumns = side
    level.dataset.NumberOfFrames = 40_000**2
    with Store(slide) as store:
        far = ask(store, slide, [level.uid], (side - 300, side - 300))
        assert code_of(probe_app, far) == "HTTP_ERROR"  # the store has no such frames
        assert all(request.path.count(",") < 8 for request in store.frame_requests())


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/", "http://127.0.0.1:9/x", "file:///etc/passwd"]
)
def test_redirects_of_frames_lead_nowhere(probe_app: App, slide: Slide, location: str) -> None:
    with Store(slide) as store:
        answering(store, "frames", (302, {"Location": location}, b""))
        found = error(probe_app, ask(store, slide, [slide.instances[0].uid], token="planted"))
        assert found["code"] in ("HTTP_ERROR", "DICOM_PATH_ERROR")


def test_a_dripping_store_does_not_keep_others_waiting(probe_app: App, slide: Slide) -> None:
    drip = Endless(0.2, b" ")
    results: list[str] = []
    with Store(slide) as store:
        hanging = ask(store, slide, ["1.2.3"], path=drip.path)
        good = ask(store, slide, [slide.instances[0].uid])
        sender = threading.Thread(
            target=lambda: results.append(probe_app.predict(hanging, good).text), daemon=True
        )
        sender.start()
        for _ in range(3):
            answer = probe_app.predict(good)
            assert "result" in answer.json()["predictions"][0]
        assert not results
        drip.end()  # the store dies in the middle of its answer
        sender.join(60)
    assert '"HTTP_ERROR"' in results[0]
    assert '"result"' in results[0]


def test_a_store_that_never_answers_leaves_threads_to_others(
    slide: Slide,
) -> None:
    drip = Endless(0.5, b" ")
    with App() as service, Store(slide) as store:
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
            answer = service.predict(good)
            assert "result" in answer.json()["predictions"][0]
        assert time.monotonic() - started < 30
        assert drip.begun == 16
        drip.end()
        for sender in senders:
            sender.join(60)
