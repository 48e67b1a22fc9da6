"""Checking a store against its index, and deleting what has been kept for long enough."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serving.config.settings import load_settings
from serving.store.ingest.outcome import Door, Origin
from serving.store.service.checking import Check, Fault
from serving.store.service.parts import Parts, open_ingest, open_mapping, open_parts
from serving.store.service.retention import Retention
from tests.support.store_service import shareable

DAY_S = 86_400.0


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    settings = load_settings(
        {"PATHSERVE_STORE_DIR": str(tmp_path / "store"), "PATHSERVE_STORE_MIN_FREE_BYTES": 0}, {}
    )
    parts = open_parts(settings)
    ingest = open_ingest(parts, settings)
    for instance in shareable(sizes=((300, 200), (150, 100), (75, 50))).instances:
        with ingest.arrival() as arrival:
            arrival.write(instance.file())
            arrival.close()
            assert ingest.add(arrival.path, Origin(Door.ADD, "tests")).is_here
    yield parts
    ingest.close()
    parts.close()


def places(parts: Parts) -> list[str]:
    (study,) = parts.index.studies()
    return [stored.path for stored in parts.index.instances(study)]


def findings(parts: Parts, *, mends: bool = False) -> list[tuple[Fault, str]]:
    return [(finding.fault, finding.place) for finding in Check(parts, mends=mends).run()]


def test_a_store_that_is_whole_is_found_whole(parts: Parts) -> None:
    check = Check(parts, mends=False)
    assert list(check.run()) == []
    assert check.whole == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_a_file_that_is_not_whole_is_found_and_no_longer_shown_once_mended(parts: Parts, damage: str) -> None:
    place = places(parts)[1]
    path = parts.folder / place
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": bytes(data[:-200]), "flipped": bytes(data), "empty": b""}[damage])
    expected = [(Fault.MISSING if damage == "gone" else Fault.DAMAGED, place)]
    assert findings(parts) == expected
    assert findings(parts, mends=True) == expected
    assert findings(parts) == []
    assert len(places(parts)) == 2
    assert not path.exists()


def test_an_index_that_was_lost_is_made_anew_from_the_files(parts: Parts) -> None:
    before = sorted(places(parts))
    (study,) = parts.index.studies()
    parts.index.remove(study)
    assert parts.index.studies() == []
    assert sorted(findings(parts)) == [(Fault.UNKNOWN, place) for place in before]
    assert parts.index.studies() == []
    assert len(findings(parts, mends=True)) == 3
    assert sorted(places(parts)) == before
    assert findings(parts) == []


def test_a_file_under_a_name_that_is_not_its_own_is_put_aside(parts: Parts) -> None:
    first = parts.folder / places(parts)[0]
    stranger = first.with_name("2.25.1.0123456789abcdef.dcm")
    stranger.write_bytes(first.read_bytes())
    expected = [(Fault.UNREADABLE, stranger.relative_to(parts.folder).as_posix())]
    assert findings(parts, mends=True) == expected
    assert findings(parts) == []
    assert (parts.folder / "quarantine" / stranger.name).exists()


def test_what_was_kept_for_long_enough_goes_and_the_trail_says_so(parts: Parts) -> None:
    (study,) = parts.index.studies()
    paths = places(parts)
    newest = max(stored.added_at for stored in parts.index.instances(study))
    assert Retention(parts, 2.0, lambda: newest + 1.9 * DAY_S).look() == []
    assert Retention(parts, 2.0, lambda: newest + 2.1 * DAY_S).look() == [study]
    assert parts.index.studies() == []
    assert not [path for path in paths if (parts.folder / path).exists()]
    row = list(parts.audit.rows())[-1]
    assert (row["event"], row["who"], row["uids"]) == ("110105", "retention", [study])


def copied(folder: Path, target: Path) -> None:
    """Copy a store as docs/store.md has it: the index, then what is no database, then all databases."""
    target.mkdir()
    _back_up(folder / "index.sqlite", target)
    ignored = shutil.ignore_patterns("*.sqlite*", "incoming")
    shutil.copytree(folder, target, ignore=ignored, dirs_exist_ok=True)
    for path in folder.glob("*.sqlite"):
        if path.name != "index.sqlite":
            _back_up(path, target)


def _back_up(path: Path, folder: Path) -> None:
    copy = folder / path.name
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    copy.chmod(0o600)


def test_a_copy_that_is_made_while_slides_come_in_is_a_whole_store(tmp_path: Path) -> None:
    settings = load_settings(
        {"PATHSERVE_STORE_DIR": str(tmp_path / "store"), "PATHSERVE_STORE_MIN_FREE_BYTES": 0}, {}
    )
    parts = open_parts(settings)
    ingest = open_ingest(parts, settings)
    some_are_here, is_copied = threading.Event(), threading.Event()
    came_in = 0

    def take_in() -> None:
        nonlocal came_in
        while not is_copied.is_set() and came_in < 200:
            for instance in shareable(sizes=((64, 48),)).instances:
                with ingest.arrival() as arrival:
                    arrival.write(instance.file())
                    arrival.close()
                    came_in += ingest.add(arrival.path, Origin(Door.ADD, "tests")).is_here
            if came_in >= 3:
                some_are_here.set()

    taking = threading.Thread(target=take_in)
    taking.start()
    assert some_are_here.wait(60)
    copied(parts.folder, tmp_path / "copy")
    is_copied.set()
    taking.join(60)
    ingest.close()
    parts.close()

    restored = open_parts(load_settings({"PATHSERVE_STORE_DIR": str(tmp_path / "copy")}, {}))
    assert all(fault is Fault.UNKNOWN for fault, _ in findings(restored, mends=True))
    check = Check(restored, mends=False)
    assert list(check.run()) == []
    assert 3 <= check.whole <= came_in
    mapping = open_mapping(restored)
    assert all(list(mapping.reverse(study)) for study in restored.index.studies())
    restored.close()


def test_a_study_that_something_comes_to_while_it_is_looked_at_stays(parts: Parts) -> None:
    (study,) = parts.index.studies()
    newest = max(stored.added_at for stored in parts.index.instances(study))
    moments = iter([newest + 3 * DAY_S, newest + DAY_S])  # as if it had just come, at the second look
    assert Retention(parts, 2.0, lambda: next(moments)).look() == []
    assert all((parts.folder / place).exists() for place in places(parts))
