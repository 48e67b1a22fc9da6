"""What is kept of an instance, and what is refused for being none."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dicom_io.local.files import PositionedFile
from serving.store.index.frames import Layout, UnreadableInstance
from serving.store.index.header import read_header
from serving.store.index.metadata import MARK, bulk_value
from serving.store.index.record import InstanceRecord, record_of
from tests.support.slides import CODINGS, pyramid

CODINGS_KEPT = sorted(name for name in CODINGS if name != "deflated")


def recorded(folder: Path, data: bytes) -> InstanceRecord:
    path = folder / "instance.part"
    path.write_bytes(data)
    return record_of(path, "test")


@pytest.mark.parametrize("coding", CODINGS_KEPT)
def test_frames_of_every_coding_are_found_where_they_are(tmp_path: Path, coding: str) -> None:
    instance = pyramid(coding, sizes=[(600, 300)]).instances[0]
    data = instance.file()
    record = recorded(tmp_path, data)
    assert (record.sop, record.transfer_syntax, record.frames.count) == (instance.uid, instance.syntax, 6)
    for number, frame in enumerate(instance.frames, 1):
        offset, length = record.frames.where(number)
        assert data[offset : offset + len(frame)] == frame
        assert length - len(frame) in (0, 1), "padded to be even"


def test_the_record_names_bytes_place_and_what_is_searched_by(tmp_path: Path) -> None:
    data = pyramid(sizes=[(600, 300)], StudyDate="20260102", InstanceNumber=7).instances[0].file()
    record = recorded(tmp_path, data)
    digest = hashlib.sha256(data).hexdigest()
    assert (record.size, record.sha256, record.origin) == (len(data), digest, "test")
    assert record.path == f"instances/{record.study}/{record.series}/{record.sop}.{digest[:32]}.dcm"
    assert record.attributes["studydate"] == "20260102"
    assert record.attributes["instancenumber"] == "7"
    assert record.attributes["imagetype"] == "\\DERIVED\\PRIMARY\\VOLUME\\RESAMPLED\\"
    assert record.frames.layout is Layout.NATIVE


def test_metadata_is_dicom_json_without_pixels_and_says_how_it_is_stored(tmp_path: Path) -> None:
    instance = pyramid("JPEG", sizes=[(600, 300)]).instances[0]
    record = recorded(tmp_path, instance.file())
    document = json.loads(record.metadata)
    assert "7FE00010" not in document
    assert not [tag for tag in document if tag.startswith("0002")]
    assert document["00083002"] == {"vr": "UI", "Value": [instance.syntax]}
    assert Dataset.from_json(document).TotalPixelMatrixColumns == 600


def test_bulk_values_are_numbered_in_document_order_and_found_by_their_number(tmp_path: Path) -> None:
    slide = pyramid(sizes=[(600, 300)], ICCProfile=b"nested" * 500)
    first = slide.instances[0].dataset
    first.add_new(0x00420011, "OB", b"before" * 500)
    record = recorded(tmp_path, slide.instances[0].file())
    document = json.loads(record.metadata)
    assert document["00420011"]["BulkDataURI"] == f"{MARK}bulkdata/1"
    nested = document["00480105"]["Value"][0]["00282000"]
    assert nested["BulkDataURI"] == f"{MARK}bulkdata/2"
    file = PositionedFile.open(tmp_path / "instance.part")
    dataset = read_header(file.whole()).dataset
    file.close()
    assert bulk_value(dataset, 1) == b"before" * 500
    assert bulk_value(dataset, 2) == b"nested" * 500
    assert bulk_value(dataset, 0) is bulk_value(dataset, 3) is None


def deep(levels: int) -> bytes:
    """Return items of a sequence of private elements that hold each other."""
    element, end = (
        b"\x09\x00\x00\x10SQ\0\0\xff\xff\xff\xff",
        b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
    )
    return (element + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * levels + end * levels


@pytest.mark.parametrize(
    "what", ["nothing", "text", "cut in the header", "cut in the pixels", "deep", "deflated"]
)
def test_what_cannot_be_an_instance_is_refused_with_a_reason(tmp_path: Path, what: str) -> None:
    data = pyramid("JPEG", sizes=[(600, 300)]).instances[0].file()
    at = data.index(b"\x10\x00\x10\x00PN")
    hostile = {
        "nothing": b"",
        "text": b"not DICOM" * 100,
        "cut in the header": data[:600],
        "cut in the pixels": data[: len(data) - 100],
        "deep": data[:at] + deep(10_000) + data[at:],
        "deflated": pyramid("deflated", sizes=[(600, 300)]).instances[0].file(),
    }
    with pytest.raises(UnreadableInstance) as caught:
        recorded(tmp_path, hostile[what])
    assert 0 < len(str(caught.value)) < 100


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2/3", "", "1..2", "1.2 3", "1.2.x"])
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_what_is_not_a_uid_never_becomes_a_path(tmp_path: Path, keyword: str, uid: str) -> None:
    instance = pyramid(sizes=[(300, 200)]).instances[0]
    right = str(instance.dataset[keyword].value).encode()
    data = instance.file().replace(right, uid.encode().ljust(len(right), b"\0"))
    with pytest.raises(UnreadableInstance, match="UID"):
        recorded(tmp_path, data)
