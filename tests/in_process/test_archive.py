"""An archive's pieces of work, without an engine: what is written, when it counts, and what may go wrong."""

from __future__ import annotations

import dataclasses
import json
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
from serving.archive.status import StatusReader
from serving.archive.stores.folder import FolderStore
from serving.batch.worklist import NamedSlide
from serving.config.settings import load_settings
from serving.processes.assembly import http_store
from tests.support.archives import (
    do_all,
    everything,
    left_over,
    require_right,
    rows_of,
    run,
    vectors_of,
    working,
    write_slides,
)


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
def truth(
    slides: list[NamedSlide], small: list[NamedSlide], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    """The vectors of the slides, row by row, of an undisturbed run."""
    out = tmp_path_factory.mktemp("truth") / "out"
    run(Job(str(out), everything()), slides)
    return {slide.name: vectors_of(rows_of(out, slide.name)) for slide in slides}


def test_a_shard_says_what_made_it(job: Job, store: FolderStore, small: list[NamedSlide]) -> None:
    run(job, small)
    (whole, _) = wholes(store)
    about = json.loads(pq.read_schema(Path(job.out) / whole.shard).metadata[b"pathserve"])
    assert about["model"] == whole.model == f"sha256:{'0' * 64}"
    assert about["run"]["slide"] == "slide 0.svs"
    assert about["frame"]["mpp"] == 0.5
    assert about["version"] == 2
    (record,) = about["provenance"]
    assert record["image"]["digest"] == f"sha256:{about['slide']['digest']}"
    assert record["read"]["um_per_px"] == [0.5, 0.5]
    assert record["model"]["digest"] == whole.model


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
    require_right(store, truth)


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
    require_right(store, truth)


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
    require_right(store, truth)


def test_a_slide_that_comes_back_is_done_when_failures_are_tried_again_and_others_are_let_alone(
    job: Job, store: FolderStore, small: list[NamedSlide], tmp_path: Path
) -> None:
    lost = NamedSlide(str(tmp_path / "lost.svs"), "lost")
    run(job, [lost])
    Path(lost.where).write_bytes(Path(small[0].where).read_bytes())
    run(dataclasses.replace(job, retry_failed=True), [lost, *small])
    assert [one.slide for one in wholes(store)] == ["lost"]
    assert left_over(store) == []


def test_a_second_try_that_is_killed_is_gone_on_with_by_the_same_command(
    job: Job, store: FolderStore, small: list[NamedSlide], tmp_path: Path
) -> None:
    lost = NamedSlide(str(tmp_path / "lost.svs"), "lost")
    run(job, [lost])
    Path(lost.where).write_bytes(Path(small[0].where).read_bytes())
    again = dataclasses.replace(job, retry_failed=True)
    with working(again) as worker:
        assert [type(one) for one in pieces_of(worker, lost)] == [Piece]
    assert run(job, [lost]) == []
    run(again, [lost])
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


def test_quality_is_asked_for_in_the_archives_own_words_or_not_at_all(job: Job, store: FolderStore) -> None:
    assert not {"quality", "min_quality"} & set(everything().as_json())
    same_or_refused(store, layout.ARCHIVE, everything().as_json(), "run")
    with pytest.raises(Refused, match="is of another run: quality differ"):
        same_or_refused(store, layout.ARCHIVE, everything(quality=True).as_json(), "run")
    other = f"other-{layout.ARCHIVE}"
    same_or_refused(store, other, everything(quality=True).as_json(), "run")
    with pytest.raises(Refused, match="is of another run: quality differ"):
        same_or_refused(store, other, everything().as_json(), "run")


def test_a_shard_has_the_quality_of_patches_and_leaves_out_those_that_are_not_good_enough(
    tmp_path: Path, small: list[NamedSlide]
) -> None:
    whole, some = tmp_path / "whole", tmp_path / "some"
    run(Job(str(whole), everything(quality=True)), small)
    name = small[0].name
    rows = rows_of(whole, name)
    blur = sorted(row["quality_blur"] for row in rows)[len(rows) // 2]
    run(Job(str(some), everything(min_quality=(("blur", blur),))), small)
    assert rows_of(some, name) == [row for row in rows if row["quality_blur"] <= np.float32(blur)]
    status = StatusReader(FolderStore(str(some))).read()
    assert status.done == status.patches


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
    assert StatusReader(store).read().failed_slides == 1
    assert len(rows_of(store, "changing")) == 6
    Path(changing.where).write_bytes(Path(small[0].where).read_bytes())
    assert run(job, [changing]) == []
    assert list(failures(store)) == []


def test_what_is_done_stays_done_when_the_slide_is_gone(
    job: Job, store: FolderStore, small: list[NamedSlide], tmp_path: Path
) -> None:
    gone = NamedSlide(str(tmp_path / "gone.svs"), "gone")
    Path(gone.where).write_bytes(Path(small[0].where).read_bytes())
    run(job, [gone])
    Path(gone.where).unlink()
    assert run(job, [gone]) == []
    assert list(failures(store)) == []


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
