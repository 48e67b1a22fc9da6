"""STOW through the application: what clients are told, instance by instance."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from serving.http.app import create_app
from serving.http.door import Door
from serving.store.access.roles import Caller, Role
from serving.store.dicomweb.stow import stow_door
from tests.support.slides import StoredInstance, pyramid
from tests.support.store_ingest import OpenStore

BASE = "http://localhost/dicomweb"
CONTENT_TYPE = 'multipart/related; type="application/dicom"; boundary=gap'


def application(store: OpenStore) -> Flask:
    app = create_app([Door(stow_door(store.ingest, lambda: BASE).routes)])

    def known() -> None:
        g.caller = Caller("t-1", frozenset({Role.WRITE}))

    app.before_request(known)
    return app


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OpenStore]:
    store = OpenStore(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def client(store: OpenStore) -> FlaskClient:
    return application(store).test_client()


def instance(**changes: Any) -> StoredInstance:
    changes = {"BurnedInAnnotation": "NO", "SpecimenLabelInImage": "NO"} | changes
    return pyramid("JPEG", [(300, 200)], **changes).instances[0]


def body(*parts: bytes, media_type: str = "application/dicom") -> bytes:
    header = f"--gap\r\nContent-Type: {media_type}\r\n\r\n".encode()
    return b"".join(header + part + b"\r\n" for part in parts) + b"--gap--\r\n"


def post(client: FlaskClient, data: bytes, path: str = "/studies", **headers: str) -> Any:
    headers = {"Content-Type": CONTENT_TYPE, "Accept": "application/dicom+json"} | headers
    return client.post(path, data=data, headers=headers)


def values(items: list[dict[str, Any]], tag: str) -> list[Any]:
    return [item[tag]["Value"][0] for item in items if tag in item]


def test_stored_instances_are_named_by_their_new_uids_with_the_warning_of_coercion(
    client: FlaskClient, store: OpenStore
) -> None:
    sent = [instance(), instance()]
    answer = post(client, body(*(one.file() for one in sent)))
    assert answer.status_code == 202
    items = answer.json["00081199"]["Value"]
    assert values(items, "00081196") == [0xB000, 0xB000]
    assert values(items, "00081150") == ["1.2.840.10008.5.1.4.1.1.77.1.6"] * 2
    new = values(items, "00081155")
    assert not {one.uid for one in sent} & set(new)
    assert [url.rsplit("/", 1) for url in values(items, "00081190")] == [
        [url.rsplit("/", 1)[0], uid] for url, uid in zip(values(items, "00081190"), new, strict=True)
    ]
    assert {path.split("/")[-1].rsplit(".", 2)[0] for path in store.indexed()} == set(new)
    assert "00081198" not in answer.json


def test_the_same_again_is_answered_as_the_first_time(client: FlaskClient, store: OpenStore) -> None:
    data = body(instance().file())
    assert post(client, data).json == post(client, data).json
    assert len(store.indexed()) == 1


def test_each_instance_has_a_reason_of_its_own(client: FlaskClient, store: OpenStore) -> None:
    good, other = instance(), instance()
    other.dataset.SOPInstanceUID = good.uid
    label = instance(ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"])
    ct = instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    answer = post(client, body(good.file(), label.file(), ct.file(), other.file(), b"no DICOM"))
    assert answer.status_code == 202
    failed = answer.json["00081198"]["Value"]
    assert values(failed, "00081155") == [label.uid, ct.uid, good.uid]
    assert values(failed, "00081197") == [0xC000, 0x0122, 0x0111]
    assert values(answer.json["0008119A"]["Value"], "00081197") == [0xC000]
    assert any("LABEL" in line for line in answer.headers.getlist("Warning"))
    assert len(store.indexed()) == 1


def test_where_none_is_stored_the_answer_is_409(client: FlaskClient, store: OpenStore) -> None:
    answer = post(client, body(instance(ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"]).file()))
    assert answer.status_code == 409
    assert "00081199" not in answer.json
    assert store.files() == store.arrivals() == []


def test_clients_of_before_json_get_xml(client: FlaskClient) -> None:
    answer = post(client, body(instance().file()), Accept="application/dicom+xml")
    assert answer.content_type == "application/dicom+xml"
    root = ET.fromstring(answer.data)
    names = [node.get("keyword") for node in root.iter("DicomAttribute")]
    assert {"ReferencedSOPSequence", "ReferencedSOPInstanceUID", "WarningReason"} <= set(names)


def test_a_body_that_is_cut_midway_is_refused_and_nothing_is_left_of_its_half(
    client: FlaskClient, store: OpenStore
) -> None:
    data = body(instance().file())
    answer = post(client, data[: len(data) // 2])
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "INVALID_REQUEST_FIELD_ERROR")
    assert store.files() == store.arrivals() == []


def test_a_connection_that_ends_early_leaves_nothing(client: FlaskClient, store: OpenStore) -> None:
    data = body(instance().file())

    class Lost(io.BytesIO):
        def readinto(self, buffer: Any, /) -> int:
            if read := super().readinto(buffer):
                return read
            raise ConnectionError("gone")

    answer = client.post(
        "/studies",
        input_stream=Lost(data[: len(data) // 2]),
        headers={"Content-Type": CONTENT_TYPE, "Content-Length": str(len(data))},
    )
    assert answer.status_code >= 400
    assert store.files() == store.arrivals() == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json"}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=gap'}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom"'}, 400),
    ],
    ids=str,
)
def test_a_request_that_is_no_stow_is_refused_whole(
    client: FlaskClient, store: OpenStore, headers: dict[str, str], status: int
) -> None:
    answer = post(client, body(instance().file()), **headers)
    assert answer.status_code == status
    assert answer.json["error"]["description"]
    assert store.files() == []


def test_a_part_of_another_media_type_fails_alone(client: FlaskClient) -> None:
    text = b"--gap\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
    answer = post(client, text + body(instance().file()))
    assert answer.status_code == 202
    assert values(answer.json["0008119A"]["Value"], "00081197") == [0xC000]


def test_an_empty_body_is_refused(client: FlaskClient) -> None:
    assert post(client, b"--gap--\r\n").status_code == 400


def test_a_full_disk_is_507_before_any_of_the_body_is_read(tmp_path: Path) -> None:
    store = OpenStore(tmp_path / "store", min_free=1 << 60)
    answer = post(application(store).test_client(), body(instance().file()))
    assert answer.status_code == 507
    store.close()


def test_an_instance_beyond_the_limit_fails_with_a700(tmp_path: Path) -> None:
    store = OpenStore(tmp_path / "store", max_bytes=1 << 20)
    answer = post(application(store).test_client(), body(bytes(2 << 20), instance().file()))
    assert answer.status_code == 202
    assert values(answer.json["0008119A"]["Value"], "00081197") == [0xA700]
    assert store.arrivals() == []
    store.close()


def test_instances_of_another_study_than_the_address_names_are_refused(
    client: FlaskClient, store: OpenStore
) -> None:
    one = instance()
    assert post(client, body(one.file()), "/studies/1.2.3").status_code == 409
    assert post(client, body(one.file()), f"/studies/{one.dataset.StudyInstanceUID}").status_code == 202
    new = store.index.studies()[0]
    assert post(client, body(one.file()), f"/studies/{new}").status_code == 202
    assert post(client, body(one.file()), "/studies/..%2fx").status_code in (400, 404)
