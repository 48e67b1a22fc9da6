"""DICOMweb of the slide store: what clients ask and are answered, without sockets."""

from __future__ import annotations

import contextlib
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import simplejpeg
from werkzeug.test import Client, TestResponse

from dicom_io.web.multipart import Part, iter_parts, media_type
from serving.store.access.roles import Permission
from tests.support.slide_store import DICOMWEB, StoreFolder
from tests.support.slides import CODINGS, JPEG, Slide, pyramid, stained

ONE_FRAME = "application/octet-stream; transfer-syntax=*"
OCTETS = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'


class Stored:
    """A store with a slide of JPEG tiles, and one of native ones."""

    def __init__(self, folder: Path) -> None:
        self.store = StoreFolder(folder)
        self.profile = b"profile" * 300
        self.jpeg = pyramid(
            "JPEG", StudyDate="20260102", PatientID="AB1", AccessionNumber="[1]", ICCProfile=self.profile
        )
        self.native = pyramid("explicit", sizes=[(600, 300)], StudyDate="20260304", PatientID="AC2")
        for slide in (self.jpeg, self.native):
            self.store.add_slide(slide)
        self.client = self.store.client()

    def get(self, path: str, accept: str | None = None, client: Client | None = None) -> TestResponse:
        headers = {} if accept is None else {"Accept": accept}
        return (client or self.client).get(DICOMWEB + path, headers=headers)

    def json(self, path: str) -> list[dict[str, Any]]:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.content_type == "application/dicom+json"
        found: list[dict[str, Any]] = json.loads(answer.data)
        return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    stored = Stored(tmp_path_factory.mktemp("store"))
    yield stored
    stored.store.index.close()


def path_of(slide: Slide, index: int | None = None) -> str:
    path = f"/studies/{slide.study}/series/{slide.series}"
    return path if index is None else f"{path}/instances/{slide.instances[index].uid}"


def parts_of(answer: TestResponse) -> list[Part]:
    assert answer.status_code == 200, answer.text
    kind, parameters = media_type(answer.content_type)
    assert kind == "multipart/related"
    assert answer.content_length == len(answer.data)
    return list(iter_parts([answer.data], parameters["boundary"], 1 << 30))


def code(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, json.loads(answer.data)["error"]["code"]


def same_frame(body: bytes, frame: bytes) -> bool:
    return body[: len(frame)] == frame and len(body) - len(frame) in (0, 1)


# --- frames -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", sorted(name for name in CODINGS if name != "deflated"))
def test_frames_of_every_coding_are_sent_as_they_are_stored(tmp_path: Path, coding: str) -> None:
    slide = pyramid(coding, sizes=[(600, 300)])
    with StoreFolder(tmp_path) as store:
        store.add_slide(slide)
        answer = store.client().get(DICOMWEB + path_of(slide, 0) + "/frames/1,6", headers={"Accept": OCTETS})
    parts = parts_of(answer)
    frames = slide.instances[0].frames
    assert same_frame(parts[0].body, frames[0])
    assert same_frame(parts[1].body, frames[5])
    assert {part.parameters["transfer-syntax"] for part in parts} == {slide.instances[0].syntax}


def test_frames_come_in_the_order_in_which_they_are_asked_for(stored: Stored) -> None:
    frames = stored.jpeg.instances[0].frames
    parts = parts_of(stored.get(path_of(stored.jpeg, 0) + "/frames/3,1,2,1", OCTETS))
    for part, number in zip(parts, (3, 1, 2, 1), strict=True):
        assert same_frame(part.body, frames[number - 1])


@pytest.mark.parametrize("numbers", ["0", "13", "1,13", "0,1", "99999999"])
def test_frames_that_there_are_not_are_not_found(stored: Stored, numbers: str) -> None:
    assert code(stored.get(f"{path_of(stored.jpeg, 0)}/frames/{numbers}", OCTETS)) == (404, "NOT_FOUND_ERROR")


@pytest.mark.parametrize("numbers", ["-1", "a", "1,", "1;2", "1.0", "99999999999999999999", "%C2%B2"])
def test_what_is_not_a_list_of_frames_is_refused(stored: Stored, numbers: str) -> None:
    answer = stored.get(f"{path_of(stored.jpeg, 0)}/frames/{numbers}", OCTETS)
    assert code(answer) == (400, "INVALID_REQUEST_FIELD_ERROR")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "multipart/related"),
        ("*/*", "multipart/related"),
        ('multipart/related; type="*/*"', "multipart/related"),
        ('multipart/related; type="image/jpeg"', "multipart/related"),
        ("multipart/related; type=image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50", "multipart/related"),
        ('multipart/related; type="application/octet-stream;transfer-syntax=*"', "multipart/related"),
        ('multipart/related; type="image/png", ' + OCTETS, "multipart/related"),
        ("image/jpeg", "image/jpeg"),
        ("image/*;q=0.5", "image/jpeg"),
        ("application/octet-stream; transfer-syntax=*", "application/octet-stream"),
        ("image/jpeg;q=0.1, application/octet-stream; transfer-syntax=*;q=0.9", "application/octet-stream"),
    ],
)
def test_a_frame_comes_as_what_is_accepted_most(stored: Stored, accept: str | None, kind: str) -> None:
    answer = stored.get(path_of(stored.jpeg, 0) + "/frames/1", accept)
    assert answer.status_code == 200
    assert media_type(answer.content_type)[0] == kind
    body = parts_of(answer)[0].body if kind == "multipart/related" else answer.data
    assert same_frame(body, stored.jpeg.instances[0].frames[0])


@pytest.mark.parametrize(
    "accept",
    [
        "image/png",
        "image/jp2",
        "image/jpeg;q=0",
        "application/octet-stream",
        'multipart/related; type="application/octet-stream"',
        'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1',
        'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.70',
    ],
)
def test_what_would_have_to_be_transcoded_is_not_acceptable(stored: Stored, accept: str) -> None:
    answer = stored.get(path_of(stored.jpeg, 0) + "/frames/1", accept)
    assert code(answer) == (406, "NOT_ACCEPTABLE_ERROR")
    assert "transfer-syntax=*" in answer.text


def test_several_frames_cannot_come_as_one(stored: Stored) -> None:
    assert stored.get(path_of(stored.jpeg, 0) + "/frames/1,2", "image/jpeg").status_code == 406


def test_native_frames_are_octets_with_and_without_a_named_syntax(stored: Stored) -> None:
    for accept in ("application/octet-stream", 'multipart/related; type="application/octet-stream"', OCTETS):
        assert stored.get(path_of(stored.native, 0) + "/frames/1", accept).status_code == 200


# --- instances, metadata, bulk data -------------------------------------------------------------------------


def test_instances_come_as_their_files(stored: Stored) -> None:
    files = [instance.file() for instance in stored.jpeg.instances]
    for path in (f"/studies/{stored.jpeg.study}", path_of(stored.jpeg)):
        parts = parts_of(stored.get(path, 'multipart/related; type="application/dicom"; transfer-syntax=*'))
        assert [len(part.body) for part in parts] == [len(file) for file in files]
        read = [pydicom.dcmread(io.BytesIO(part.body)) for part in parts]
        assert [one.SOPInstanceUID for one in read] == [one.uid for one in stored.jpeg.instances]
    single = stored.get(path_of(stored.jpeg, 1), "application/dicom")
    assert single.content_type == f"application/dicom; transfer-syntax={JPEG}"
    assert single.content_length == len(single.data) == len(files[1])


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "image/jpeg",
        'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1',
    ],
)
def test_instances_are_not_transcoded(stored: Stored, accept: str) -> None:
    assert code(stored.get(path_of(stored.jpeg, 0), accept)) == (406, "NOT_ACCEPTABLE_ERROR")


def test_metadata_leads_to_the_bulk_data_that_it_leaves_out(stored: Stored) -> None:
    study, series = (
        stored.json(f"/studies/{stored.jpeg.study}/metadata"),
        stored.json(path_of(stored.jpeg) + "/metadata"),
    )
    assert study == series
    assert len(series) == 2
    one = stored.json(path_of(stored.jpeg, 0) + "/metadata")
    assert one == series[:1]
    uri = one[0]["00480105"]["Value"][0]["00282000"]["BulkDataURI"]
    assert uri == f"http://localhost{DICOMWEB}{path_of(stored.jpeg, 0)}/bulkdata/1"
    path = uri.removeprefix(f"http://localhost{DICOMWEB}")
    assert stored.get(path).data == stored.profile
    (part,) = parts_of(stored.get(path, 'multipart/related; type="application/octet-stream"'))
    assert part.body == stored.profile
    assert stored.get(path, "image/jpeg").status_code == 406
    assert stored.get(path.removesuffix("1") + "2").status_code == 404


def test_metadata_is_json_or_nothing(stored: Stored) -> None:
    path = path_of(stored.jpeg) + "/metadata"
    for accept in ("application/json", "application/dicom+json", "*/*", "application/*"):
        assert stored.get(path, accept).status_code == 200
    assert stored.get(path, 'multipart/related; type="application/dicom+xml"').status_code == 406


@pytest.mark.parametrize("bad", ["..", "1..2", "a", "1" * 65, "1%2E%2E", "%2e%2e", "1%00"])
def test_what_is_not_a_uid_is_refused_and_what_is_none_of_ours_not_found(stored: Stored, bad: str) -> None:
    for path in (f"/studies/{bad}/metadata", f"/studies/1.2/series/{bad}/metadata"):
        assert stored.get(path).status_code in (400, 404)
    assert code(stored.get("/studies/1.2/metadata")) == (404, "NOT_FOUND_ERROR")
    assert code(stored.get(f"{path_of(stored.jpeg)}/instances/1.2")) == (404, "NOT_FOUND_ERROR")


# --- search -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "both"),
        ("?PatientID=AB*", "jpeg"),
        ("?00100020=A?2", "native"),
        ("?patientid=AB*", None),
        ("?StudyDate=20260101-20260131", "jpeg"),
        ("?StudyDate=-20260131", "jpeg"),
        ("?00080020=20260201-", "native"),
        ("?StudyDate=20260304", "native"),
        ("?AccessionNumber=[1]", "jpeg"),
        ("?AccessionNumber=[1*", "jpeg"),
        ("?ModalitiesInStudy=SM", "both"),
        ("?ModalitiesInStudy=CT", "neither"),
        ("?PatientID=", "both"),
        ("?PatientID=*&fuzzymatching=false", "both"),
        ("?limit=1", "jpeg"),
        ("?limit=1&offset=1", "native"),
        ("?offset=2", "neither"),
        ("?limit=0", "neither"),
    ],
)
def test_studies_are_found(stored: Stored, query: str, found: str | None) -> None:
    slides = {"jpeg": [stored.jpeg], "native": [stored.native], "neither": []}
    if found is None:
        assert stored.get(f"/studies{query}").status_code == 400
        return
    expected = slides.get(found, [stored.jpeg, stored.native])
    assert [row["0020000D"]["Value"][0] for row in stored.json(f"/studies{query}")] == [
        slide.study for slide in expected
    ]


@pytest.mark.parametrize(
    "query",
    ["Nonsense=1", "Modality=SM", "StudyDate=2026", "StudyTime=x", "limit=-1", "limit=x", "offset=1.5",
     "StudyInstanceUID=1.2,x", "PatientID=A&PatientID=B", "00081140.00081150=1.2",
     "PatientID=A&00100020=B", "StudyInstanceUID=1.2&0020000d=1.3", "PatientID=A%00", "origin=stow",
     "ModalitiesInStudy=SM%00", "ModalitiesInStudy=" + "SM," * 2000, "PatientID=" + "x" * 5000],
)  # fmt: skip
def test_a_search_that_cannot_be_done_as_it_stands_is_refused(stored: Stored, query: str) -> None:
    assert code(stored.get(f"/studies?{query}")) == (400, "INVALID_REQUEST_FIELD_ERROR")


def test_uids_may_be_a_list(stored: Stored) -> None:
    both = f"{stored.jpeg.study},{stored.native.study}"
    assert len(stored.json(f"/studies?StudyInstanceUID={both},1.2.3")) == 2
    assert len(stored.json(f"/series?0020000E={stored.jpeg.series}\\1.2.3")) == 1
    uids = ",".join(instance.uid for instance in stored.jpeg.instances)
    assert len(stored.json(f"/studies/{stored.jpeg.study}/instances?SOPInstanceUID={uids}")) == 2
    assert stored.json(f"/studies/{stored.jpeg.study}/instances?StudyInstanceUID=1.2.3") == []


def test_a_slash_at_the_end_changes_nothing(stored: Stored) -> None:
    for path in ("/studies", path_of(stored.jpeg), f"{path_of(stored.jpeg)}/instances"):
        assert stored.get(path + "/").status_code == 200


def test_fuzzy_matching_and_more_rows_are_told_by_warnings(stored: Stored) -> None:
    answer = stored.get("/studies?PatientID=AB1&fuzzymatching=true")
    assert "fuzzymatching" in answer.headers["Warning"]
    answer = stored.get("/instances?limit=1&offset=1")
    assert answer.headers["Warning"] == '299 pathserve "There are 1 additional results that can be requested"'
    assert "Warning" not in stored.get("/instances?limit=3").headers


def test_rows_have_what_their_level_asks_for_and_what_is_included(stored: Stored) -> None:
    study = stored.json("/studies?PatientID=AB1")[0]
    assert study["00080020"] == {"vr": "DA", "Value": ["20260102"]}
    assert study["00201206"]["Value"] == [1]
    assert study["00201208"]["Value"] == [2]
    assert study["00080061"]["Value"] == ["SM"]
    assert study["00081190"]["Value"] == [f"http://localhost{DICOMWEB}/studies/{stored.jpeg.study}"]
    series = stored.json(f"/studies/{stored.jpeg.study}/series")[0]
    assert series["0020000E"]["Value"] == [stored.jpeg.series]
    assert "00100020" not in series
    assert "00100020" in stored.json("/series")[0]
    path = f"{path_of(stored.jpeg)}/instances"
    instance = stored.json(path)[0]
    assert instance["00083002"] == instance["00020010"] == {"vr": "UI", "Value": [JPEG]}
    assert instance["00480006"] == {"vr": "UL", "Value": [1000]}
    assert instance["00080008"]["Value"] == ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    assert "00280102" not in instance
    assert stored.json(f"{path}?includefield=HighBit")[0]["00280102"]["Value"] == [7]
    assert stored.json(f"{path}?includefield=PatientID,00280102")[0]["00100020"]["Value"] == ["AB1"]
    whole = stored.json(f"{path}?includefield=all")[0]
    assert whole.items() >= stored.json(path_of(stored.jpeg, 0) + "/metadata")[0].items()


# --- pictures -----------------------------------------------------------------------------------------------


def picture(answer: TestResponse) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "image/jpeg"
    return simplejpeg.decode_jpeg(answer.data)


def test_a_frame_is_rendered(stored: Stored) -> None:
    frame = picture(stored.get(path_of(stored.native, 0) + "/frames/1/rendered?quality=98", "image/jpeg"))
    assert frame.shape == (256, 256, 3)
    truth = stored.native.instances[0].truth[:256, :256]
    assert np.abs(frame.astype(int) - truth).mean() < 4
    small = picture(stored.get(path_of(stored.native, 0) + "/frames/1/rendered?viewport=64,100"))
    assert small.shape == (64, 64, 3)
    assert picture(stored.get(path_of(stored.native, 0) + "/frames/2/thumbnail")).shape == (256, 256, 3)


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_a_slide_is_rendered_and_has_a_thumbnail(stored: Stored, level: str) -> None:
    path = {
        "study": f"/studies/{stored.native.study}",
        "series": path_of(stored.native),
        "instance": path_of(stored.native, 0),
    }[level]
    whole = picture(stored.get(f"{path}/rendered", "*/*"))
    assert whole.shape == (300, 600, 3)
    assert np.abs(whole.astype(int) - stained(600, 300)).mean() < 6
    assert picture(stored.get(f"{path}/thumbnail", "image/*")).shape == (128, 256, 3)
    assert picture(stored.get(f"{path}/thumbnail?viewport=100,100")).shape == (50, 100, 3)


@pytest.mark.parametrize(
    "query",
    ["quality=0", "quality=101", "quality=x", "quality=01000", "quality=" + "0100" * 1250, "viewport=1",
     "viewport=0,5", "viewport=1,2,3,4", "viewport=0001000000,9", "iccprofile=unknown"],
)  # fmt: skip
def test_a_picture_that_cannot_be_made_is_refused(stored: Stored, query: str) -> None:
    assert code(stored.get(f"{path_of(stored.native)}/thumbnail?{query}"))[0] == 400


def test_pictures_are_jpeg_or_nothing(stored: Stored) -> None:
    assert stored.get(f"{path_of(stored.native)}/rendered", "image/png").status_code == 406
    assert code(stored.get(f"{path_of(stored.native, 0)}/frames/1,2/rendered"))[0] == 400
    assert code(stored.get(f"{path_of(stored.native, 0)}/frames/7/rendered"))[0] == 404


# --- scope and deleting -------------------------------------------------------------------------------------


def test_what_a_token_does_not_hold_for_is_not_there(stored: Stored) -> None:
    shared = stored.store.client(Permission(frozenset({stored.native.study})))
    for path in ("/studies", "/series", "/instances"):
        rows = json.loads(stored.get(path, client=shared).data)
        assert {row["0020000D"]["Value"][0] for row in rows} == {stored.native.study}
        assert "Warning" not in stored.get(f"{path}?limit=1", client=shared).headers
    instance = path_of(stored.jpeg, 0)
    for path in (
        f"/studies/{stored.jpeg.study}", f"/studies/{stored.jpeg.study}/metadata", instance,
        f"{instance}/frames/1", f"{instance}/bulkdata/1", f"{instance}/rendered", f"{instance}/thumbnail",
        f"{instance}/frames/1/rendered",
    ):  # fmt: skip
        assert stored.get(path, client=shared).status_code == 404, path
        assert stored.get(path).status_code == 200, path
    assert json.loads(stored.get(f"/studies/{stored.jpeg.study}/series", client=shared).data) == []
    assert stored.get(f"{path_of(stored.native, 0)}/frames/1", client=shared).status_code == 200


def test_what_is_deleted_is_gone_from_index_and_disk(tmp_path: Path) -> None:
    slide = pyramid(sizes=[(600, 300), (300, 150)])
    with StoreFolder(tmp_path) as store:
        store.add_slide(slide)
        client = store.client()
        assert client.delete(DICOMWEB + path_of(slide, 0)).status_code == 204
        assert len(list(store.files.places())) == 1
        assert client.get(DICOMWEB + path_of(slide, 0)).status_code == 404
        assert client.get(f"{DICOMWEB}{path_of(slide, 1)}/frames/1").status_code == 200
        assert client.delete(f"{DICOMWEB}/studies/{slide.study}").status_code == 204
        assert list(store.files.places()) == []
        assert json.loads(client.get(f"{DICOMWEB}/studies").data) == []
        assert client.delete(f"{DICOMWEB}/studies/{slide.study}").status_code == 404
        store.add_slide(slide)
        assert client.get(DICOMWEB + path_of(slide, 0)).status_code == 200


def test_what_has_no_file_any_more_is_not_found(tmp_path: Path) -> None:
    slide = pyramid(sizes=[(300, 200)])
    with StoreFolder(tmp_path) as store:
        store.add_slide(slide)
        for place in list(store.files.places()):  # as a deletion that was killed leaves it
            store.files.remove(place)
        client, path = store.client(), DICOMWEB + path_of(slide, 0)
        for resource, accept in ((f"{path}/frames/1", OCTETS), (f"{path}/frames/1", ONE_FRAME),
                                 (path, "application/dicom")):  # fmt: skip
            assert code(client.get(resource, headers={"Accept": accept}))[0] == 404
        assert client.delete(path).status_code == 204
        assert client.get(path).status_code == 404


def test_what_comes_in_while_it_is_deleted_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    (instance,) = pyramid(sizes=[(300, 200)]).instances
    data, study = instance.file(), str(instance.dataset.StudyInstanceUID)
    with StoreFolder(tmp_path) as store:
        ended = threading.Event()

        def delete() -> None:
            client = store.client()
            while not ended.is_set():
                client.delete(f"{DICOMWEB}/studies/{study}")

        thread = threading.Thread(target=delete)
        thread.start()
        for _ in range(30):
            with contextlib.suppress(FileNotFoundError):  # deleted in between: to be sent again
                store.add(data)
        ended.set()
        thread.join()
        assert {one.path for one in store.index.instances(study)} <= set(store.files.places())
