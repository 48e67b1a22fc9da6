"""Queries to the DICOM node by dcmtk's ``findscu``, and by peers that say more than a query has."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from tests.integration.test_store_dimse import association_request, command_set, data_pdu, ended
from tests.support.dicom_node import FINDER, PEER, TITLE, NodeProcess, dcmtk, without_dcmtk
from tests.support.service import wait_until
from tests.support.slide_store import StoreFolder
from tests.support.slides import Slide, pyramid
from tests.support.store_ingest import OpenStore

pytestmark = without_dcmtk

MOST, IMAGES = 1500, 1600


@dataclasses.dataclass
class Filled:
    """A node, and the slides that its store has; the second's images are very many."""

    node: NodeProcess
    first: Slide
    second: Slide

    def audit(self) -> list[dict[str, object]]:
        store = OpenStore(self.node.folder)
        rows = list(store.audit.rows())
        store.close()
        return rows


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    folder = tmp_path_factory.mktemp("find") / "store"
    folder.mkdir(mode=0o700)
    first = pyramid(
        "JPEG", StudyDate="20260102", PatientID="AB1", SpecificCharacterSet="ISO_IR 192", PatientName="Łoś^A"
    )
    second = pyramid("explicit", sizes=[(600, 300)], StudyDate="20260304", PatientID="AC2")
    with StoreFolder(folder) as made:
        made.add_slide(first)
        made.add_slide(second)
    multiply(folder / "index.sqlite", second.instances[0].uid)
    with NodeProcess(folder, most=MOST) as node:
        yield Filled(node, first, second)


def multiply(index: Path, uid: str) -> None:
    """Make many rows of an instance's one: adding as many instances would take a minute."""
    with contextlib.closing(sqlite3.connect(index)) as connection, connection:
        table = "pathserve_store_instances"
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        others = ", ".join(name for name in names if name not in ("number", "sop"))
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            f"INSERT INTO {table} (sop, {others}) SELECT '1.2.' || i, {others} FROM {table}, n WHERE sop = ?",
            (IMAGES - 1, uid),
        )


def find(
    store: Filled, folder: Path, *keys: str, calling: str = FINDER, options: tuple[str, ...] = ()
) -> tuple[list[Dataset], str]:
    """Return the matches of a query, and what findscu said."""
    named = [part for key in keys for part in ("-k", key)]
    said = dcmtk("findscu", store.node, "-S", "-X", "-od", folder, *options, *named, calling=calling)
    return [pydicom.dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))], said


def uids(slide: Slide) -> tuple[str, str]:
    dataset = slide.instances[0].dataset
    return str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID)


def test_who_may_find_may_echo(store: Filled) -> None:
    assert "Received Echo Response (Success)" in dcmtk("echoscu", store.node, calling=FINDER)


@pytest.mark.parametrize(
    ("key", "patients"),
    [
        ("PatientID=AB1", ["AB1"]),
        ("PatientID=A?2", ["AC2"]),
        ("PatientID=a*", []),
        ("StudyDate=20260101-20260201", ["AB1"]),
        ("StudyDate=20260201-", ["AC2"]),
        ("ModalitiesInStudy=SM", ["AB1", "AC2"]),
        ("StudyDate", ["AB1", "AC2"]),
    ],
)
def test_studies_are_matched_as_in_other_searches(
    store: Filled, tmp_path: Path, key: str, patients: list[str]
) -> None:
    keys = [key] if key.startswith("PatientID") else [key, "PatientID"]
    matches, said = find(store, tmp_path, "QueryRetrieveLevel=STUDY", *keys)
    assert "Received Final Find Response (Success)" in said, said
    assert [match.PatientID for match in matches] == patients
    asked_for = {"QueryRetrieveLevel", *(key.partition("=")[0] for key in keys)}
    assert all({element.keyword for element in match} == asked_for for match in matches)


def test_lists_of_uids_counts_and_names_in_another_alphabet(store: Filled, tmp_path: Path) -> None:
    listed = "\\".join(uids(slide)[0] for slide in (store.first, store.second))
    keys = ["PatientName", "NumberOfStudyRelatedInstances", f"StudyInstanceUID={listed}"]
    matches, _ = find(store, tmp_path, "QueryRetrieveLevel=STUDY", *keys)
    assert matches[0].PatientName == "Łoś^A"
    counts = [match.NumberOfStudyRelatedInstances for match in matches]
    assert counts == [len(store.first.instances), IMAGES]


def test_series_and_images_are_found_below_their_study(store: Filled, tmp_path: Path) -> None:
    study, series = uids(store.first)
    (found,), _ = find(
        store, tmp_path, "QueryRetrieveLevel=SERIES", f"StudyInstanceUID={study}", "SeriesInstanceUID"
    )
    assert found.SeriesInstanceUID == series
    (tmp_path / "images").mkdir()
    keys = [f"StudyInstanceUID={study}", f"SeriesInstanceUID={series}", "SOPInstanceUID", "Rows"]
    images, said = find(store, tmp_path / "images", "QueryRetrieveLevel=IMAGE", *keys)
    assert [image.SOPInstanceUID for image in images] == [one.uid for one in store.first.instances], said
    assert all(image.Rows > 0 for image in images)


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        (("QueryRetrieveLevel=PATIENT",), "DataSetDoesNotMatchSOPClass"),
        (("PatientID=AB1",), "DataSetDoesNotMatchSOPClass"),
        (("QueryRetrieveLevel=SERIES",), "DataSetDoesNotMatchSOPClass"),
        (("QueryRetrieveLevel=STUDY", "StudyDate=KOWALSKI"), "UnableToProcess"),
    ],
)
def test_a_bad_identifier_fails_and_leaves_a_row_without_its_values(
    store: Filled, tmp_path: Path, keys: tuple[str, ...], status: str
) -> None:
    matches, said = find(store, tmp_path, *keys)
    assert matches == []
    assert status in said, said
    row = store.audit()[-1]
    assert (row["event"], row["who"], row["outcome"]) == ("110112", f"dimse:{FINDER}", "failed")
    assert "KOWALSKI" not in str(row)


def test_each_query_leaves_a_row(store: Filled, tmp_path: Path) -> None:
    before = len(store.audit())
    find(store, tmp_path, "QueryRetrieveLevel=STUDY", "PatientID=AB1")
    (row,) = store.audit()[before:]
    assert (row["event"], row["who"], row["outcome"]) == ("110112", f"dimse:{FINDER}", "success")
    assert "AB1" not in str(row)


def test_who_may_only_send_finds_nothing_and_who_may_only_find_sends_nothing(
    store: Filled, tmp_path: Path
) -> None:
    matches, said = find(store, tmp_path, "QueryRetrieveLevel=STUDY", "PatientID", calling=PEER)
    assert matches == []
    assert "No Acceptable Presentation Contexts" in said, said
    (tmp_path / "slide.dcm").write_bytes(store.first.instances[0].file())
    said = dcmtk("storescu", store.node, "-R", "-xy", tmp_path / "slide.dcm", calling=FINDER)
    assert "No Acceptable Presentation Contexts" in said or "No presentation context" in said, said
    _, said = find(store, tmp_path, "QueryRetrieveLevel=STUDY", calling="STRANGER")
    assert "Association Rejected" in said


def test_a_query_over_the_context_of_an_echo_ends_the_connection(store: Filled) -> None:
    entity = AE(ae_title=PEER)
    entity.add_requested_context(Verification)
    peer = entity.associate("127.0.0.1", store.node.port, ae_title=TITLE)
    (context,) = peer.accepted_contexts
    context.abstract_syntax = StudyRootQueryRetrieveInformationModelFind
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.PatientID = "STUDY", ""
    answers = list(peer.send_c_find(asked, StudyRootQueryRetrieveInformationModelFind))
    assert answers == [(Dataset(), None)]


def test_more_matches_than_the_bound_are_said(store: Filled, tmp_path: Path) -> None:
    study, series = uids(store.second)
    keys = [f"StudyInstanceUID={study}", f"SeriesInstanceUID={series}", "SOPInstanceUID"]
    matches, said = find(store, tmp_path, "QueryRetrieveLevel=IMAGE", *keys)
    assert len({match.SOPInstanceUID for match in matches}) == MOST
    assert "OutOfResources" in said, said[-2000:]


def test_a_query_that_is_cancelled_ends(store: Filled, tmp_path: Path) -> None:
    study, series = uids(store.second)
    keys = [f"StudyInstanceUID={study}", f"SeriesInstanceUID={series}", "SOPInstanceUID"]
    matches, said = find(store, tmp_path, "QueryRetrieveLevel=IMAGE", *keys, options=("--cancel", "1"))
    assert 0 < len(matches) < MOST
    assert "Cancel" in said.rsplit("Received Final Find Response", 1)[-1], said[-2000:]


def test_an_identifier_without_an_end_costs_no_memory_and_ends_its_connection(store: Filled) -> None:
    find_request = command_set().replace(b"\x00\x00\x00\x01\x02\x00\x00\x00\x01\x00", FIND_COMMAND)
    assert find_request != command_set()
    with socket.create_connection(("127.0.0.1", store.node.port), 60) as peer:
        peer.sendall(association_request())
        assert peer.recv(1) == b"\x02", "accepted"
        with contextlib.suppress(OSError):
            peer.sendall(find_request)
            for _ in range(3000):
                peer.sendall(data_pdu(bytes(100_000), 0))
        wait_until(lambda: ended(peer), "the end of the connection", 60)
    assert store.node.most_memory < 200 << 20


FIND_COMMAND = b"\x00\x00\x00\x01\x02\x00\x00\x00\x20\x00"
"""Command Field (0000,0100) of a C-FIND-RQ."""
