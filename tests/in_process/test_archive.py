"""An archive's pieces of work, without an engine: what is written, when it counts, and what may go wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dicom_io.web.http import HttpStore
from serving.archive import layout
from serving.archive.blocks import do_piece
from serving.archive.commit import blocks_there
from serving.archive.job import Done, Job, Piece
from serving.archive.planning import pieces_of
from serving.archive.records import Refused, failures, read_whole, same_or_refused, wholes
from serving.archive.slides import named_slides
from serving.archive.status import StatusReader
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
    write_slides,
)
from tests.support.models import POISON
from tests.support.predicting import embed
from tests.support.slides import CODINGS, Slide, stained
from tests.support.store import PREFIX, Answer, Request, Store


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[NamedSlide]:
    """Two slides of two blocks each: 24 x 22 and 25 x 21 patches."""
    return write_slides(tmp_path_factory.mktemp("slides"), (24, 22), (25, 21))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[NamedSlide]:
    return write_slides(tmp_path_factory.mktemp("small"), (3, 2), (2, 2))


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


def require_right(store: FolderStore, slides: list[NamedSlide], truth: dict[str, np.ndarray]) -> None:
    """Fail unless every slide has each of its rows once, in order, and nothing else is left."""
    assert [one.slide for one in wholes(store)] == [slide.name for slide in slides]
    for whole in wholes(store):
        data = store.read(whole.shard)
        assert data is not None
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (whole.sha256, whole.size)
        rows = rows_of(store, whole.slide)
        assert [(row["y"], row["x"]) for row in rows] == sorted({(row["y"], row["x"]) for row in rows})
        np.testing.assert_array_equal(vectors_of(rows), truth[whole.slide])
        assert whole.rows == len(rows)
    store.sweep()
    assert left_over(store) == []


@pytest.fixture(scope="module")
def truth(
    slides: list[NamedSlide], small: list[NamedSlide], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    """The vectors of the slides, row by row, of an undisturbed run."""
    out = tmp_path_factory.mktemp("truth") / "out"
    run(Job(str(out), everything()), slides)
    return {slide.name: vectors_of(rows_of(out, slide.name)) for slide in slides}


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


def test_a_shard_says_what_made_it(job: Job, store: FolderStore, small: list[NamedSlide]) -> None:
    run(job, small)
    (whole, _) = wholes(store)
    about = json.loads(pq.read_schema(Path(job.out) / whole.shard).metadata[b"pathserve"])
    assert about["model"] == whole.model == f"sha256:{'0' * 64}"
    assert about["run"]["slide"] == "slide 0.svs"
    assert about["frame"]["mpp"] == 0.5
    assert about["version"] == 2


class Killed(BaseException):
    """What a worker that is killed runs into, at any operation on its output."""


class KilledAt(FolderStore):
    """A folder whose user is killed before its n-th change."""

    def __init__(self, address: str, last: int) -> None:
        super().__init__(address)
        self.left = last

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def add(self, name: str, data: bytes) -> bool:
        self._step()
        return super().add(name, data)

    def add_file(self, name: str, path: Path) -> bool:
        self._step()
        return super().add_file(name, path)

    def remove(self, name: str) -> None:
        self._step()
        super().remove(name)


def test_a_run_that_is_killed_at_any_change_of_its_output_goes_on_and_redoes_one_block_at_most(
    job: Job, store: FolderStore, slides: list[NamedSlide], truth: dict[str, np.ndarray]
) -> None:
    """Each time it is killed a step later than before: at every one of them, one run after the other."""
    with working(job) as worker:
        real, blocks, embedded, kills = worker.store, 4, 0, 0
        for last in range(1, 200):
            worker.store = KilledAt(job.out, last % 5)
            there = sum(
                2 if read_whole(real, one.name) else len(blocks_there(real, one.name)) for one in slides
            )
            try:
                done = do_all(worker, slides)
            except Killed:
                kills += 1
                continue
            embedded = sum(one.patches > 0 for one in done)
            assert embedded <= blocks - there
            break
        assert kills > 8
        worker.store = real
        do_all(worker, slides)
    require_right(store, slides, truth)


def test_a_run_that_is_killed_between_the_last_part_and_the_record_is_made_up_for(
    job: Job, store: FolderStore, slides: list[NamedSlide], truth: dict[str, np.ndarray]
) -> None:
    class NoRecord(FolderStore):
        def add_file(self, name: str, path: Path) -> bool:
            if name.startswith(layout.SHARDS):
                raise Killed
            return super().add_file(name, path)

    with working(job) as worker:
        real = worker.store
        for slide in slides:
            worker.store = NoRecord(job.out)
            with pytest.raises(Killed):
                do_all(worker, [slide])
            assert len(blocks_there(real, slide.name)) == 2
            worker.store = real
            (piece,) = pieces_of(worker, slide)
            assert piece == Piece(slide, None)
            assert do_piece(worker, piece) == Done(slides=1)
    require_right(store, slides, truth)


def test_two_runs_on_one_output_make_each_slide_once(
    job: Job, store: FolderStore, slides: list[NamedSlide], truth: dict[str, np.ndarray]
) -> None:
    with working(job) as one, working(job) as other, ThreadPoolExecutor(2) as threads:
        done = [
            piece
            for future in [threads.submit(do_all, worker, slides) for worker in (one, other)]
            for piece in future.result()
        ]
    assert sum(piece.slides for piece in done) == 2
    require_right(store, slides, truth)


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


def test_a_slide_that_comes_back_is_done_when_failures_are_tried_again_and_others_are_let_alone(
    job: Job, store: FolderStore, small: list[NamedSlide], tmp_path: Path
) -> None:
    lost = NamedSlide(str(tmp_path / "lost.svs"), "lost")
    run(job, [lost])
    Path(lost.where).write_bytes(Path(small[0].where).read_bytes())
    run(dataclasses.replace(job, retry_failed=True), [lost, *small])
    assert [one.slide for one in wholes(store)] == ["lost"]
    assert left_over(store) == []


def test_a_change_of_the_model_is_refused(job: Job, store: FolderStore, small: list[NamedSlide]) -> None:
    run(job, small)
    name = Path(job.out) / layout.MODEL
    name.write_text(name.read_text().replace("sha256:0", "sha256:1"))
    with pytest.raises(Refused, match="is of another model: digest differ"):
        run(job, small)


def test_a_change_of_what_is_asked_for_is_refused(job: Job, store: FolderStore) -> None:
    same_or_refused(store, layout.ARCHIVE, everything().as_json(), "run")
    same_or_refused(store, layout.ARCHIVE, everything().as_json(), "run")
    with pytest.raises(Refused, match="is of another run: stride differ"):
        same_or_refused(store, layout.ARCHIVE, everything(stride=112).as_json(), "run")


def test_a_slide_that_has_changed_since_it_was_planned_is_not_mixed(
    job: Job, store: FolderStore, small: list[NamedSlide], tmp_path: Path
) -> None:
    changing = NamedSlide(str(tmp_path / "changing.svs"), "changing")
    Path(changing.where).write_bytes(Path(small[0].where).read_bytes())
    run(job, [changing])
    Path(changing.where).write_bytes(Path(small[1].where).read_bytes())
    run(job, [changing])
    (failure,) = failures(store)
    assert "was made for something else (bytes differ)" in failure.sentence
    assert len(rows_of(store, "changing")) == 6


def test_what_is_done_stays_done_when_the_slide_is_gone(
    job: Job, store: FolderStore, small: list[NamedSlide], tmp_path: Path
) -> None:
    gone = NamedSlide(str(tmp_path / "gone.svs"), "gone")
    Path(gone.where).write_bytes(Path(small[0].where).read_bytes())
    run(job, [gone])
    Path(gone.where).unlink()
    assert run(job, [gone]) == []
    assert list(failures(store)) == []


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


def test_the_status_is_that_of_the_output_whoever_is_alive(
    job: Job, store: FolderStore, slides: list[NamedSlide], tmp_path: Path
) -> None:
    dead = NamedSlide(str(tmp_path / "nothing.svs"), "dead")
    with working(job) as worker:
        pieces = [one for slide in (*slides, dead) for one in pieces_of(worker, slide)]
        reader = StatusReader(store)
        assert reader.read().share == 0
        assert isinstance(pieces[0], Piece)
        do_piece(worker, pieces[0])
        status = reader.read()
        assert (status.planned, status.whole, status.failed_slides) == (2, 0, 1)
        assert (status.patches, status.done) == (24 * 22 + 25 * 21, 512)
        for piece in pieces[1:]:
            if isinstance(piece, Piece):
                do_piece(worker, piece)
        status = reader.read()
        assert (status.whole, status.done, status.share) == (2, status.patches, 1.0)


@pytest.fixture(autouse=True)
def settings_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers read the environment for their settings, as on machines of their own."""
    for name in ("PATHSERVE_MODEL", "PATHSERVE_STORE_TOKEN", "APPROVED_DICOM_STORE_SOURCE_LIST"):
        monkeypatch.delenv(name, raising=False)


def _http() -> HttpStore:
    return http_store(load_settings())
