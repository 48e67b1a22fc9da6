"""An archive's output in Cloud Storage: Google's emulator, with conditions on generations."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from serving.archive import layout
from serving.archive.job import Job
from serving.archive.records import wholes
from serving.archive.status import StatusReader
from serving.archive.stores.opening import open_store
from serving.archive.stores.store import OutputStore
from serving.output.files import OutputError
from tests.support.archives import (
    do_all,
    everything,
    left_over,
    rows_of,
    run,
    vectors_of,
    working,
    write_slides,
)
from tests.support.gcs import GcsEmulator


@pytest.fixture(scope="module")
def emulator() -> Iterator[GcsEmulator]:
    with GcsEmulator() as emulator:
        yield emulator


@pytest.fixture
def address(emulator: GcsEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    return f"gs://slides/{tmp_path.name}"


@pytest.fixture
def store(address: str) -> OutputStore:
    return open_store(address)


def test_an_object_is_written_once_whoever_writes_it(store: OutputStore) -> None:
    texts = [b"%d" % number for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        added = list(threads.map(lambda text: store.add("a/b.txt", text), texts))
    assert sum(added) == 1
    assert store.read("a/b.txt") == texts[added.index(True)]


def test_objects_are_read_listed_replaced_and_removed(store: OutputStore) -> None:
    assert store.read("a/1") is None
    assert store.head("a/1", 2) is None
    store.put("a/1", b"12345")
    store.put("a/1", b"54321")
    store.put("b/2", b"")
    assert store.head("a/1", 2) == b"54"
    with store.open("a/1") as file:
        file.seek(3)
        assert file.read() == b"21"
    assert list(store.names("a")) == ["a/1"]
    assert store.exists("a/1")
    store.remove("a/1")
    store.remove("a/1")
    assert not store.exists("a/1")


def test_an_address_of_a_bucket_that_is_malformed_is_refused() -> None:
    with pytest.raises(OutputError, match="names no bucket"):
        open_store("gs:///folder")


def test_rows_in_a_bucket_are_those_in_a_folder_and_two_runs_make_them_once(
    address: str, store: OutputStore, tmp_path: Path
) -> None:
    slides = write_slides(tmp_path / "slides", (3, 2), (2, 2))
    job = Job(address, everything())
    with working(job) as one, working(job) as other, ThreadPoolExecutor(2) as threads:
        done = [
            future.result() for future in [threads.submit(do_all, worker, slides) for worker in (one, other)]
        ]
    assert sum(piece.slides for some in done for piece in some) == 2
    here = str(tmp_path / "here")
    run(Job(here, everything()), slides)
    for slide in slides:
        rows = rows_of(store, slide.name)
        np.testing.assert_array_equal(vectors_of(rows), vectors_of(rows_of(here, slide.name)))
    assert [whole.slide for whole in wholes(store)] == [slide.name for slide in slides]
    assert left_over(store) == []
    assert StatusReader(store).read().share == 1
    assert sorted(name.split("/")[0] for name in store.names(layout.PLANS)) == ["plans", "plans"]
