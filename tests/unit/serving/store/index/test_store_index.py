"""The index on both kinds of databases: what is added once, found, counted and removed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from serving.database import BadDatabase
from serving.store.access.roles import Permission
from serving.store.index.attributes import ATTRIBUTES, Level
from serving.store.index.query import Match, Query
from serving.store.index.store_index import Added, StoreIndex
from serving.store.index.tables import VERSION, schema
from tests.support.slide_store import made_up

ROOT = Path(__file__).parents[5]
PROCESSES, INSTANCES = 4, 300


@pytest.fixture
def index(index_database: str) -> Iterator[StoreIndex]:
    index = StoreIndex(index_database)
    index.prepare()
    yield index
    index.close()


def by(keyword: str, *values: str) -> Query:
    return Query(matches=(Match(next(a for a in ATTRIBUTES if a.keyword == keyword), values),))


def uids(index: StoreIndex, level: Level, query: Query, permission: Permission | None = None) -> list[str]:
    page = index.search(level, query, *([permission] if permission else []))
    return [(found.sop or found.series or found.study) for found in page.rows]


def test_an_instance_is_added_once_and_other_bytes_of_its_uid_never(index: StoreIndex) -> None:
    record = made_up("1", "1.1", "1.1.1")
    assert index.add(record) is Added.NEW
    assert index.add(record) is Added.SAME
    assert index.add(made_up("1", "1.1", "1.1.1", digest="f" * 64)) is Added.DIFFERENT
    assert index.add(made_up("2", "2.1", "1.1.1")) is Added.DIFFERENT
    assert uids(index, Level.STUDY, Query()) == ["1"]
    stored = index.instance("1", "1.1", "1.1.1")
    assert stored is not None
    assert stored.sha256 == record.sha256
    assert index.instance("2", "1.1", "1.1.1") is index.instance("1", "1.2", "1.1.1") is None


def test_what_is_not_confirmed_is_not_added(index: StoreIndex) -> None:
    def missing() -> None:
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError):
        index.add(made_up("1", "1.1", "1.1.1"), missing)
    assert index.studies() == []
    assert index.add(made_up("1", "1.1", "1.1.1"), lambda: None) is Added.NEW


def test_four_processes_add_the_same_instances_and_none_of_them_finds_the_database_locked(
    index_database: str,
) -> None:
    code = f"""
import sys
from serving.store.index.store_index import StoreIndex
from tests.support.slide_store import made_up
index = StoreIndex(sys.argv[1])
index.prepare()
added = [index.add(made_up("1.%d" % (n % 7), "2.%d" % (n % 20), "3.%d" % n)) for n in range({INSTANCES})]
print(added.count("new"), added.count("same"))
"""
    command = [sys.executable, "-c", code, index_database]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    ended = [process.communicate(timeout=120) for process in running]
    assert [errors for _, errors in ended] == [""] * PROCESSES
    counts = [tuple(map(int, said.split())) for said, _ in ended]
    assert sum(new for new, _ in counts) == INSTANCES
    assert sum(same for _, same in counts) == (PROCESSES - 1) * INSTANCES
    index = StoreIndex(index_database)
    assert sum(found.instance_count for found in index.search(Level.STUDY, Query()).rows) == INSTANCES
    index.close()


def test_studies_and_series_count_what_is_in_them(index: StoreIndex) -> None:
    for series, sop, modality in (("1.1", "1", "SM"), ("1.1", "2", "SM"), ("1.2", "3", "ANN")):
        index.add(made_up("1", series, sop, Modality=modality))
    (study,) = index.search(Level.STUDY, Query()).rows
    assert (study.series_count, study.instance_count, study.modalities) == (2, 3, ("ANN", "SM"))
    counts = [found.instance_count for found in index.search(Level.SERIES, Query()).rows]
    assert counts == [2, 1]


MATCHES = [
    (by("PatientID", "AB*"), ["1", "3"]),
    (by("PatientID", "A?1"), ["1", "2"]),
    (by("PatientID", "ab*"), []),
    (by("PatientID", "AB1"), ["1"]),
    (by("PatientID", "[A]*"), []),
    (by("PatientID", "100%_!"), ["4"]),
    (by("PatientID", "100%*"), ["4"]),
    (by("PatientID", "%"), []),
    (by("PatientID", "*_!"), ["4"]),
    (by("PatientID", "[x]*"), ["5"]),
    (by("StudyDate", "20260102"), ["2"]),
    (by("StudyDate", "20260102-"), ["2", "3"]),
    (by("StudyDate", "-20260102"), ["1", "2"]),
    (by("StudyDate", "20260102-20260103"), ["2", "3"]),
    (by("StudyTime", "10-11"), ["1", "2"]),
    (Query(study=("2", "4", "9")), ["2", "4"]),
    (Query(modalities=("S*",)), ["1", "2", "3", "4", "5"]),
    (Query(modalities=("ANN",)), []),
]
"""Queries, and the studies of the next test that they find."""


def test_studies_are_matched_as_the_standard_says(index: StoreIndex) -> None:
    for number, (patient, date, time) in enumerate(
        [
            ("AB1", "20260101", "100000"),
            ("AC1", "20260102", "115959.9"),
            ("AB2", "20260103", "120000"),
            ("100%_!", "", ""),
            ("[x]y", "", ""),
        ],
        1,
    ):
        study, series, sop = f"{number}", f"{number}.1", f"{number}.2"
        index.add(made_up(study, series, sop, PatientID=patient, StudyDate=date, StudyTime=time))
    for query, found in MATCHES:
        assert uids(index, Level.STUDY, query) == found, query


def test_one_of_several_values_matches(index: StoreIndex) -> None:
    index.add(made_up("1", "1.1", "1", ImageType="\\DERIVED\\PRIMARY\\VOLUME\\RESAMPLED\\"))
    index.add(made_up("1", "1.1", "2", ImageType="\\ORIGINAL\\PRIMARY\\VOLUME\\NONE\\"))
    assert uids(index, Level.INSTANCE, by("ImageType", "VOLUME")) == ["1", "2"]
    assert uids(index, Level.INSTANCE, by("ImageType", "DER*")) == ["1"]
    assert uids(index, Level.INSTANCE, by("ImageType", "VOL")) == []


def test_instances_are_found_by_what_their_study_is(index: StoreIndex) -> None:
    index.add(made_up("1", "1.1", "1", PatientID="A"))
    index.add(made_up("2", "2.1", "2", PatientID="B"))
    assert uids(index, Level.INSTANCE, by("PatientID", "B")) == ["2"]
    assert uids(index, Level.SERIES, by("PatientID", "B")) == ["2.1"]


def test_pages_are_in_the_order_of_arrival_and_stay_so_while_more_arrives(index: StoreIndex) -> None:
    expected = [f"9.{number}" for number in range(25, 0, -1)]
    for sop in expected:
        index.add(made_up("1", "1.1", sop))
    seen, remaining = list[str](), []
    for offset in range(0, 30, 10):
        page = index.search(Level.INSTANCE, Query(limit=10, offset=offset))
        seen += [found.sop for found in page.rows]
        remaining.append(page.remaining)
        index.add(made_up("1", "1.1", f"0.{offset}"))
    assert seen[:25] == expected
    assert remaining == [15, 6, 0]


def test_a_permission_hides_all_other_studies(index: StoreIndex) -> None:
    for study in ("1", "2", "3"):
        index.add(made_up(study, f"{study}.1", f"{study}.2"))
    some = Permission(frozenset({"2"}))
    for level, uid in ((Level.STUDY, "2"), (Level.SERIES, "2.1"), (Level.INSTANCE, "2.2")):
        assert uids(index, level, Query(), some) == [uid]
        assert uids(index, level, Query(study=("1",)), some) == []
        assert uids(index, level, Query(), Permission(frozenset())) == []
    assert index.instance("1", "1.1", "1.2", some) is None
    assert index.instances("1", permission=some) == []
    assert len(index.instances("2", permission=some)) == 1


def test_what_is_removed_takes_empty_series_and_studies_with_it_and_its_files_before_it_can_come_again(
    index: StoreIndex,
) -> None:
    for series, sop in (("1.1", "1"), ("1.1", "2"), ("1.2", "3")):
        index.add(made_up("1", series, sop))
    index.add(made_up("2", "1.1", "4"))
    disposed: list[str] = []
    assert len(index.remove("1", "1.1", "1", lambda one: disposed.append(one.sop))) == 1
    assert uids(index, Level.SERIES, Query(study=("1",))) == ["1.1", "1.2"]
    index.remove("1", "1.1", dispose=lambda one: disposed.append(one.sop))
    assert uids(index, Level.SERIES, Query(study=("1",))) == ["1.2"]
    index.remove("1", dispose=lambda one: disposed.append(one.sop))
    assert disposed == ["1", "2", "3"]
    assert index.studies() == ["2"]
    assert index.remove("1") == []
    assert index.add(made_up("1", "1.1", "1")) is Added.NEW


def test_frames_and_metadata_of_what_is_gone_are_not_there(index: StoreIndex) -> None:
    record = made_up("1", "1.1", "1")
    index.add(record)
    stored = index.instance("1", "1.1", "1")
    assert stored is not None
    assert list(index.metadata(["1", "404"])) == [("1", b"{}")]
    index.remove("1")
    with pytest.raises(KeyError):
        index.frames(stored)
    assert list(index.metadata(["1"])) == []


def test_an_index_of_another_version_is_refused_by_name(index: StoreIndex, index_database: str) -> None:
    engine = create_engine(index_database)
    with engine.begin() as connection:
        connection.execute(schema.update().values(version=VERSION + 1))
    engine.dispose()
    with pytest.raises(BadDatabase, match=f"version {VERSION + 1}"):
        index.prepare()
