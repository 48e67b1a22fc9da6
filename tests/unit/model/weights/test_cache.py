"""The cache of models: what is believed, what is not, and several processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.encoder import Mend, ModelError
from model.weights.cache import Cache, cache_folder


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    yield Cache(tmp_path / "cache", "gcs")
    for path in (tmp_path, *tmp_path.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)


def write(folder: Path, text: str = "model") -> None:
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_text(text)
    (folder / "variables" / "data").write_text(text)


def test_an_entry_is_found_as_it_was_put(cache: Cache) -> None:
    assert cache.find("a") is None
    put = cache.put("a", write)
    assert cache.find("a") == put
    assert (put / "variables" / "data").read_text() == "model"
    assert [path.name for path in cache.folder.iterdir()] == ["a"]


@pytest.mark.parametrize("harm", ["changed", "added", "removed", "undigested"])
def test_an_entry_that_is_not_what_was_put_is_made_anew(cache: Cache, harm: str) -> None:
    files = cache.put("a", write)
    if harm == "changed":
        (files / "variables" / "data").write_text("m0del")
    elif harm == "added":
        (files / "assets").write_text("")
    elif harm == "removed":
        (files / "saved_model.pb").unlink()
    else:
        (files.parent / "digest").unlink()
    assert cache.find("a") is None
    assert cache.put("a", write) == cache.find("a") == files
    assert sorted(path.name for path in files.iterdir()) == ["saved_model.pb", "variables"]


@pytest.mark.parametrize("where", ["", "gcs", "gcs/a", "gcs/a/files/variables", "gcs/a/files/saved_model.pb"])
def test_what_others_could_have_written_is_refused_with_what_to_do(cache: Cache, where: str) -> None:
    path = cache.put("a", write).parents[2] / where
    for mode in (path.stat().st_mode | 0o002, path.stat().st_mode | 0o022):
        path.chmod(mode)
        with pytest.raises(ModelError, match=r"can be written by .*chmod go-w") as caught:
            cache.find("a")
        assert str(path) in str(caught.value)
    path.chmod(path.stat().st_mode & ~0o022)
    assert cache.find("a") is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("where", ["", "gcs", "gcs/a", "gcs/a/digest", "gcs/a/files/saved_model.pb"])
def test_what_belongs_to_another_is_refused(cache: Cache, where: str) -> None:
    path = cache.put("a", write).parents[2] / where
    os.chown(path, 12345, -1)
    with pytest.raises(ModelError, match="belongs to user 12345"):
        cache.find("a")


def test_a_link_in_an_entry_is_refused(cache: Cache, tmp_path: Path) -> None:
    files = cache.put("a", write)
    data = files / "variables" / "data"
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="is a link"):
        cache.find("a")


def test_a_folder_that_all_may_write_is_used_where_nobody_can_remove_what_is_ours(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    cache = Cache(tmp_path, "gcs")
    assert cache.put("a", write) == cache.find("a")
    tmp_path.chmod(0o777)
    with pytest.raises(ModelError, match="can be written by everyone"):
        cache.put("b", write)


def test_what_a_killed_start_has_left_is_swept_and_what_is_being_made_is_not(cache: Cache) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(folder: Path) -> None:
        begun.set()
        assert go_on.wait(30)
        write(folder)

    script = (
        "import os, sys; from pathlib import Path; from model.weights.cache import Cache\n"
        "Cache(Path(sys.argv[1]), 'gcs').put('b', lambda folder: os.kill(os.getpid(), 9))"
    )
    subprocess.run([sys.executable, "-c", script, str(cache.folder.parent)], check=False, timeout=60)
    left = list(cache.folder.glob("partial-*"))
    assert len(left) == 1
    maker = threading.Thread(target=cache.put, args=("a", slowly))
    maker.start()
    assert begun.wait(30)
    assert not left[0].exists()  # by the next start that makes something
    left[0].mkdir()
    cache.sweep()  # by the next start that finds everything
    assert len(list(cache.folder.glob("partial-*"))) == 1
    go_on.set()
    maker.join(30)
    assert [path.name for path in cache.folder.iterdir()] == ["a"]
    assert cache.find("a") is not None


def test_two_starts_at_once_get_the_same_entry(cache: Cache) -> None:
    together = threading.Barrier(4)
    found: list[Path] = []

    def make(folder: Path) -> None:
        together.wait(30)
        write(folder)

    starts = [threading.Thread(target=lambda: found.append(cache.put("a", make))) for _ in range(4)]
    for start in starts:
        start.start()
    for start in starts:
        start.join(30)
    assert found == [cache.find("a")] * 4
    assert [path.name for path in cache.folder.iterdir()] == ["a"]


def test_what_cannot_be_made_leaves_nothing(cache: Cache) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise OSError("the store went away")

    with pytest.raises(OSError, match="went away"):
        cache.put("a", fail)
    assert list(cache.folder.iterdir()) == []


def test_what_something_was_is_remembered(cache: Cache) -> None:
    assert cache.recall("gs://bucket/model") is None
    for name in ("a", "b"):
        cache.put(name, write)
        cache.remember("gs://bucket/model", name)
        assert cache.recall("gs://bucket/model") == cache.find(name) is not None
    (pointer,) = cache.folder.glob("*.json")
    for damaged in ("", "[]", '{"entry": "../elsewhere"}', '{"entry": 3}'):
        pointer.write_text(damaged)
        assert cache.recall("gs://bucket/model") is None


def test_who_has_no_home_is_told_what_to_set_when_a_cache_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(ModelError, match="no home folder") as caught:
        cache_folder(None)
    assert caught.value.mend is Mend.CACHE_FOLDER
    assert cache_folder(tmp_path) == tmp_path
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / "pathserve"
