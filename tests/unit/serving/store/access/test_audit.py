"""The audit trail: rows are whole, files are put aside, and nothing else is in them."""

from __future__ import annotations

import json
import multiprocessing
import stat
from pathlib import Path

from serving.store.access.audit import Audit, Event, Result


def write_many(folder: Path, who: str) -> None:
    audit = Audit(folder, max_bytes=4096)
    for number in range(200):
        audit.write(Event.ACCESSED, who, [f"1.2.{number}"], Result.SUCCESS)


def test_rows_of_many_processes_are_all_there_and_whole_over_many_files(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(tmp_path, f"t{i}")) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    audit = Audit(tmp_path)
    rows = list(audit.rows())
    assert len(audit.files()) > 10
    for who in ("t0", "t1", "t2"):
        assert [row["uids"] for row in rows if row["who"] == who] == [[f"1.2.{n}"] for n in range(200)]
    assert all(path.stat().st_size <= 4096 for path in audit.files())


def test_the_oldest_files_go_and_all_are_for_their_owner_alone(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit", max_bytes=300, keep=3)
    for number in range(20):
        audit.write(Event.QUERY, "t", [], Result.SUCCESS, count=number)
    assert len(audit.files()) == 3
    assert [row["count"] for row in audit.rows()][-1] == 19
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in audit.files())


def test_a_row_says_what_happened_by_the_codes_of_dicom_and_holds_uids_alone(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.write(Event.IMPORT, "t", ["1.2.3", "Doe^Jane", "../x", "1" * 65], Result.REFUSED, "x" * 9999)
    (row,) = audit.rows()
    assert (row["event"], row["meaning"], row["outcome"]) == ("110107", "Import", "refused")
    assert row["uids"] == ["1.2.3"]
    assert len(str(row["reason"])) == 300


def test_a_row_that_a_crash_cut_off_spoils_no_other(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.write(Event.QUERY, "a", [], Result.SUCCESS)
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"time": "2026')
    audit.write(Event.QUERY, "b", [], Result.SUCCESS)
    audit.write(Event.QUERY, "c", [], Result.SUCCESS)
    assert [row["who"] for row in audit.rows()] == ["a", "b", "c"]
    assert len(json.dumps(list(audit.rows())).split("QUERY")) == 1


def test_the_newest_rows_of_an_event_are_found_over_files_that_were_put_aside(tmp_path: Path) -> None:
    audit = Audit(tmp_path, max_bytes=4096)
    for number in range(100):
        audit.write(Event.IMPORT, f"{number}", (), Result.SUCCESS)
        audit.write(Event.QUERY, "somebody", (), Result.SUCCESS)
    assert len(audit.files()) > 3
    assert [row["who"] for row in audit.newest(Event.IMPORT, 50)] == [str(n) for n in range(99, 49, -1)]
    assert len(audit.newest(Event.IMPORT, 1000)) == 100
    assert audit.newest(Event.EXPORT, 10) == []
