"""An archive's pieces of work over stores, without an engine: vectors, tokens, requests, and what fails."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dicom_io.once import Once
from dicom_io.web.http import HttpStore
from serving.archive.blocks import do_piece
from serving.archive.commit import blocks_there
from serving.archive.job import Done, Job, Piece
from serving.archive.planning import pieces_of
from serving.archive.records import Refused, failures, read_whole
from serving.archive.slides import named_slides
from serving.archive.stores.folder import FolderStore
from serving.batch.worklist import NamedSlide, WorklistError
from serving.config.settings import load_settings
from serving.processes.assembly import http_store
from tests.support.app import App
from tests.support.archives import (
    CountedTokens,
    do_all,
    everything,
    left_over,
    rows_of,
    run,
    vectors_of,
    working,
)
from tests.support.models import POISON
from tests.support.predicting import embed
from tests.support.service import wait_until
from tests.support.slides import CODINGS, Slide, stained
from tests.support.store import PREFIX, Answer, Request, Store


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(str(tmp_path / "out"), everything())


@pytest.fixture
def store(job: Job) -> FolderStore:
    return FolderStore(job.out)


@pytest.fixture(scope="module")
def stored() -> Slide:
    slide = Slide()
    slide.add_level(stained(224 * 25, 224 * 21), CODINGS["JPEG"])
    return slide


def test_vectors_are_those_of_predict_bit_for_bit(
    job: Job, store: FolderStore, stored: Slide, probe_app: App
) -> None:
    with Store(stored) as dicom:
        path = dicom.series_path(stored)
        run(job, [NamedSlide(path, "one")])
        rows = rows_of(store, "one")
        uid = stored.instances[0].uid
        for first in range(0, len(rows), 200):
            asked: dict[str, object] = {
                "dicom_path": {"series_path": path, "instance_uids": [uid]},
                "patch_coordinates": [
                    {"x_origin": row["x"], "y_origin": row["y"], "width": 224, "height": 224}
                    for row in rows[first : first + 200]
                ],
            }
            (answered,) = embed(probe_app, asked)
            np.testing.assert_array_equal(vectors_of(rows[first : first + 200]), answered)
        assert len(rows) == 25 * 21
        assert {row["instance"] for row in rows} == {uid}


def test_poison_is_a_row_with_an_error_and_a_vector_of_nan_and_the_rest_is_right(
    job: Job, store: FolderStore, tmp_path: Path
) -> None:
    poisoned = Slide()
    pixels = stained(224 * 3, 224 * 2).copy()
    for x, y in ((0, 0), (448, 224)):
        pixels[y, x] = (POISON, 0, 0)
    poisoned.add_level(pixels, CODINGS["explicit"])
    with Store(poisoned) as dicom:
        where = NamedSlide(dicom.series_path(poisoned), "poisoned")
        dead = NamedSlide(str(tmp_path / "nothing.svs"), "dead")
        run(job, [where, dead])
        assert run(job, [where, dead]) == []  # what has failed is left to who asks for it
    assert [(one.slide, one.block, one.code) for one in failures(store)] == [("dead", None, "SLIDE_ERROR")]
    rows = rows_of(store, "poisoned")
    assert [row["error"] is not None for row in rows] == [True, False, False, False, False, True]
    assert np.isnan(vectors_of(rows)).all(axis=1).tolist() == [row["error"] is not None for row in rows]
    whole = read_whole(store, "poisoned")
    assert whole is not None
    assert (whole.rows, whole.errors) == (6, 2)
    assert [(one.block, one.code, one.patches) for one in whole.failures] == [(0, "IMAGE_ERROR", 2)]


def test_what_a_store_fails_is_tried_again_when_asked_for_and_then_stays_a_row_with_an_error(
    job: Job, store: FolderStore
) -> None:
    stored = Slide()
    stored.add_level(stained(224 * 3, 224 * 2), CODINGS["explicit"])

    def first_frame_fails(request: Request) -> Answer | None:
        numbers = request.path.partition("/frames/")[2].split(",")
        return (500, {}, b"") if "1" in numbers else None

    with Store(stored) as dicom:
        dicom.behaviour.override = first_frame_fails
        where = NamedSlide(dicom.series_path(stored), "one")
        run(job, [where])
        assert [(one.block, one.code) for one in failures(store)] == [(0, "HTTP_ERROR")]
        assert read_whole(store, "one") is None
        assert run(job, [where]) == []
        (again,) = run(dataclasses.replace(job, retry_failed=True), [where])
    assert (again.patches, again.slides) == (6, 1)
    errors = [row["error"] for row in rows_of(store, "one")]
    assert errors[0].startswith("HTTP_ERROR: ")
    assert errors[-1] is None
    assert sum(error is not None for error in errors) == again.errors
    assert left_over(store) == []


def test_a_token_that_expires_is_renewed_by_the_worker_in_the_middle(
    job: Job, store: FolderStore, stored: Slide, tmp_path: Path
) -> None:
    with Store(stored) as dicom, working(job) as worker:
        tokens = CountedTokens("first-token", "second-token")
        worker.tokens = tokens
        dicom.behaviour.tokens = {"first-token"}
        (first, second) = pieces_of(worker, NamedSlide(dicom.series_path(stored), "one"))
        assert isinstance(first, Piece)
        assert isinstance(second, Piece)
        do_piece(worker, first)
        dicom.behaviour.tokens = {"second-token"}
        assert do_piece(worker, second).slides == 1
    assert tokens.renewed == 1
    for path in Path(job.out).rglob("*"):
        assert not path.is_file() or b"-token" not in path.read_bytes()


def test_a_token_that_is_refused_for_good_fails_the_block(
    job: Job, store: FolderStore, stored: Slide
) -> None:
    with Store(stored) as dicom, working(job) as worker:
        (first, _) = pieces_of(worker, NamedSlide(dicom.series_path(stored), "one"))
        assert isinstance(first, Piece)
        dicom.behaviour.tokens = set()
        assert do_piece(worker, first).failed == "INVALID_CREDENTIALS_ERROR"
    (failure,) = failures(store)
    assert failure.block == 0


def test_a_store_that_fails_slide_after_slide_ends_the_run(job: Job, store: FolderStore) -> None:
    def down(_: Request) -> Answer:
        return 500, {}, b""

    with Store() as dicom, working(job) as worker:
        dicom.behaviour.override = down
        lost = [NamedSlide(f"{dicom.url}/studies/1.2/series/1.{n}", f"s{n}") for n in range(1, 40)]
        with pytest.raises(Refused, match="have failed in a row, the last by HTTP_ERROR"):
            do_all(worker, lost)
    assert 3 <= len(list(failures(store))) <= 20


def test_slides_that_fail_here_and_there_do_not_end_the_run(
    job: Job, store: FolderStore, stored: Slide
) -> None:
    def down(request: Request) -> Answer | None:
        return (500, {}, b"") if "/studies/1.2/" in request.path else None

    with Store(stored) as dicom, working(job) as worker:
        dicom.behaviour.override = down
        for some in range(2):
            for n in range(1, 13):
                where = f"{dicom.url}/studies/1.2/series/1.{n}"
                lost = list(pieces_of(worker, NamedSlide(where, f"lost {some} {n}")))
                assert lost == [Done(failed="HTTP_ERROR")]
            good = list(pieces_of(worker, NamedSlide(dicom.series_path(stored), f"good {some}")))
            assert [type(one) for one in good] == [Piece, Piece]
    assert len(list(failures(store))) == 24


@pytest.mark.parametrize("retry", [False, True])
def test_a_block_whose_worker_is_closed_under_it_is_not_said_to_have_failed(
    job: Job, store: FolderStore, stored: Slide, retry: bool
) -> None:
    with Store(stored) as dicom, working(job) as worker:
        piece, _ = pieces_of(worker, NamedSlide(dicom.series_path(stored), "one"))
        assert isinstance(piece, Piece)
        closing = threading.Thread(target=worker.close)
        begun = Once(closing.start)

        def close(_: Request) -> None:
            begun.get()  # requests come several at a time
            wait_until(worker.is_closed, "the worker to be closed")

        dicom.behaviour.override = close
        worker.job = dataclasses.replace(job, retry_failed=retry)
        with pytest.raises(Refused, match="the run has ended"):
            do_piece(worker, piece)
        closing.join(60)
    assert list(failures(store)) == []
    assert blocks_there(store, "one") == set()


def test_requests_in_flight_to_a_store_are_held_to_a_number(job: Job, stored: Slide) -> None:
    lock, most, now = threading.Lock(), [0], [0]
    gate = threading.Event()

    def slow(request: Request) -> Answer | None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        gate.wait(0.02)  # a store that takes its time: requests that may overlap do
        answer = dicom._route(request)
        with lock:
            now[0] -= 1
        return answer

    with Store(stored) as dicom, working(dataclasses.replace(job, at_once=2)) as worker:
        dicom.behaviour.override = slow
        pieces = list(pieces_of(worker, NamedSlide(dicom.series_path(stored), "one")))
        with ThreadPoolExecutor(2) as threads:
            done = list(threads.map(lambda piece: do_piece(worker, piece), pieces))
        assert sum(one.patches for one in done if isinstance(one, Done)) == 25 * 21
        assert most[0] == 2
        assert len(dicom.requests) <= 25 * 21 / 50 + 4


def test_retry_after_is_obeyed(job: Job, store: FolderStore, stored: Slide) -> None:
    told: list[float] = []
    asked: list[float] = []

    def busy(request: Request) -> Answer | None:
        if "/frames/" not in request.path:
            return None
        asked.append(time.monotonic())
        if not told:
            told.append(time.monotonic())
            return 429, {"Retry-After": "1"}, b""
        return None

    with Store(stored) as dicom, working(dataclasses.replace(job, at_once=1)) as worker:
        dicom.behaviour.override = busy
        do_all(worker, [NamedSlide(dicom.series_path(stored), "one")])
    assert asked[1] - told[0] >= 1
    assert list(failures(store)) == []


def test_a_query_names_the_series_that_a_store_finds(stored: Slide) -> None:
    def found(request: Request) -> Answer | None:
        if not request.path.startswith(f"{PREFIX}/series?Modality=SM"):
            return None
        if "offset=0" not in request.path:
            return 204, {}, b""
        one = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "0020000E": {"vr": "UI", "Value": ["3.4"]}}
        return 200, {"Content-Type": "application/dicom+json"}, json.dumps([one]).encode()

    with Store(stored) as dicom:
        dicom.behaviour.override = found
        slides = named_slides([f"{dicom.url}/series?Modality=SM"], _http(), None)
        assert slides == (NamedSlide(f"{dicom.url}/studies/1.2/series/3.4", "3.4"),)
        with pytest.raises(WorklistError, match="is no query for series"):
            named_slides([f"{dicom.url}/instances?Modality=SM"], _http(), None)


@pytest.fixture(autouse=True)
def settings_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers read the environment for their settings, as on machines of their own."""
    for name in ("PATHSERVE_MODEL", "PATHSERVE_STORE_TOKEN", "APPROVED_DICOM_STORE_SOURCE_LIST"):
        monkeypatch.delenv(name, raising=False)


def _http() -> HttpStore:
    return http_store(load_settings())
