from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.store.doors.seen import SeenFiles, Signature


def signature(path: Path) -> Signature:
    return Signature.of(Signature.place_of(str(path.parent), path.name), path.stat())


def test_a_file_is_known_as_long_as_it_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "slide"
    path.write_bytes(b"1")
    SeenFiles(tmp_path / "seen").add(signature(path))
    seen = SeenFiles(tmp_path / "seen")
    assert seen.has(signature(path))
    path.write_bytes(b"22")
    assert not seen.has(signature(path))


def test_another_file_of_the_same_name_or_the_same_file_elsewhere_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "slide"
    path.write_bytes(b"1")
    seen = SeenFiles(tmp_path / "seen")
    seen.add(signature(path))
    (tmp_path / "other").mkdir()
    os.link(path, tmp_path / "other/slide")
    assert not seen.has(signature(tmp_path / "other/slide"))
    path.unlink()
    (tmp_path / "filler").write_bytes(b"so that no inode is used again")
    path.write_bytes(b"1")
    os.utime(path, (5, 5))
    assert not seen.has(signature(path))


@pytest.mark.parametrize("lost", [1, 7, 15])
def test_a_memory_that_a_crash_cut_off_forgets_the_last_only(tmp_path: Path, lost: int) -> None:
    paths = [tmp_path / str(number) for number in range(3)]
    seen = SeenFiles(tmp_path / "seen")
    for path in paths:
        path.write_bytes(b"1")
        seen.add(signature(path))
    os.truncate(tmp_path / "seen", (tmp_path / "seen").stat().st_size - lost)
    again = SeenFiles(tmp_path / "seen")
    assert [again.has(signature(path)) for path in paths] == [True, True, False]
    again.add(signature(paths[2]))
    assert all(SeenFiles(tmp_path / "seen").has(signature(path)) for path in paths)
