"""The DICOM node with dcmtk's programs as peers, and with what is no peer at all."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.store.doors.dimse_bounds import PDU_BYTES
from tests.support.dicom_node import PEER, TITLE, NodeProcess, dcmtk, without_dcmtk
from tests.support.service import wait_until
from tests.support.slides import CODINGS, Slide, StoredInstance, pyramid, stained
from tests.support.store_ingest import OpenStore

pytestmark = without_dcmtk

NO_WRITING = {"BurnedInAnnotation": "NO", "SpecimenLabelInImage": "NO"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess(tmp_path_factory.mktemp("node") / "store") as node:
        yield node


def look(node: NodeProcess) -> OpenStore:
    store = OpenStore(node.folder)
    store.close()
    return store


def send(node: NodeProcess, path: Path, option: str = "-xy", **titles: str) -> str:
    # Only the contexts that are needed: dcmtk's list of all storage classes has no room for these.
    return dcmtk("storescu", node, "-R", option, path, **titles)


def write(folder: Path, instance: StoredInstance) -> Path:
    path = folder / f"{instance.uid}.dcm"
    path.write_bytes(instance.file())
    return path


def instance(**changes: object) -> StoredInstance:
    return pyramid("JPEG", [(600, 400)], **NO_WRITING | changes).instances[0]


def test_it_answers_an_echo(node: NodeProcess) -> None:
    assert "Received Echo Response (Success)" in dcmtk("echoscu", node)


def test_an_instance_is_stored_de_identified_and_its_sender_is_told_that_it_was(
    node: NodeProcess, tmp_path: Path
) -> None:
    before = len(look(node).indexed())
    made = instance()
    said = send(node, path := write(tmp_path, made))
    assert "Coercion" in said or "0xb000" in said.lower(), said
    assert "Coercion" in send(node, path), "the same again is no fault"
    store = look(node)
    assert len(store.indexed()) == before + 1
    assert store.indexed() == store.files()
    assert not [
        name for name in store.files() if made.uid in (node.folder / name).read_bytes().decode("latin-1")
    ]


@pytest.mark.parametrize(
    ("coding", "option"),
    [
        ("explicit", "-xe"),
        ("implicit", "-xi"),
        ("JPEG", "-xy"),
        ("JPEG 2000 lossless", "-xv"),
        ("RLE", "-xr"),
    ],
)
def test_it_takes_each_syntax_that_dcmtk_can_send(
    node: NodeProcess, tmp_path: Path, coding: str, option: str
) -> None:
    made = pyramid(coding, [(300, 200)], **NO_WRITING).instances[0]
    assert "Coercion" in send(node, write(tmp_path, made), option)


@pytest.mark.parametrize(("called", "calling"), [("OTHER", PEER), (TITLE, "STRANGER"), ("OTHER", "STRANGER")])
def test_who_calls_by_another_name_or_is_not_known_is_rejected(
    node: NodeProcess, tmp_path: Path, called: str, calling: str
) -> None:
    before = look(node).files()
    said = send(node, write(tmp_path, instance()), called=called, calling=calling)
    assert "Association Rejected" in said
    assert look(node).files() == before
    assert "STRANGER" not in str(list(look(node).audit.rows()))


def test_a_label_is_refused_and_leaves_a_row_and_no_file(node: NodeProcess, tmp_path: Path) -> None:
    before = look(node).files()
    said = send(node, write(tmp_path, instance(ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"])))
    assert "CannotUnderstand" in said, said
    assert look(node).files() == before
    assert list(look(node).audit.rows())[-1]["outcome"] == "refused"


def test_the_same_uid_with_other_bytes_is_a_duplicate(node: NodeProcess, tmp_path: Path) -> None:
    made = instance()
    send(node, write(tmp_path, made))
    made.frames.reverse()
    said = send(node, write(tmp_path, made))
    assert "0x111" in said, said


def test_other_images_find_no_presentation_context(node: NodeProcess, tmp_path: Path) -> None:
    said = send(node, write(tmp_path, instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.2")))
    assert "No presentation context" in said or "No Acceptable Presentation Contexts" in said, said


def test_a_full_disk_is_out_of_resources(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "store", min_free=1 << 60) as node:
        said = send(node, write(tmp_path, instance()))
        assert "OutOfResources" in said, said
    assert look(node).files() == []


def large(folder: Path, times: int) -> Path:
    """Write an instance of about 6 MB times the number given."""
    slide = Slide()
    (made,) = slide.add_level(
        stained(2048, 1024), CODINGS["explicit"], BurnedInAnnotation="NO", SpecimenLabelInImage="NO"
    )
    made.frames *= times
    made.dataset.NumberOfFrames = len(made.frames)
    made.dataset.TotalPixelMatrixRows = 1024 * times
    return write(folder, made)


def test_a_large_instance_takes_no_memory(node: NodeProcess, tmp_path: Path) -> None:
    path = large(tmp_path, 50)
    assert path.stat().st_size > 300 << 20
    said = send(node, path, "-xe")
    assert "Coercion" in said, said
    assert node.most_memory < 150 << 20


def test_an_instance_beyond_the_limit_ends_its_connection_and_leaves_nothing(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "store", max_bytes=40 << 20) as node:
        said = send(node, large(tmp_path, 20), "-xe")
        assert "Coercion" not in said
        wait_until(lambda: look(node).arrivals() == [], "an empty folder", 60)
        assert "Coercion" in send(node, write(tmp_path, instance())), "and it goes on"
    assert len(look(node).files()) == 1


def test_a_peer_gets_its_answer_however_long_the_store_takes(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "store", silence_s=3, slow_s=6) as node:
        assert "Coercion" in send(node, write(tmp_path, instance()))


def test_a_connection_that_is_silent_is_ended(tmp_path: Path) -> None:
    with (
        NodeProcess(tmp_path / "store", silence_s=1) as node,
        socket.create_connection(("127.0.0.1", node.port), 60) as peer,
    ):
        peer.sendall(association_request())
        wait_until(lambda: ended(peer), "the end of the connection", 60)


def association_request() -> bytes:
    """Return the A-ASSOCIATE-RQ of a peer for Explicit VR Little Endian (PS3.8, 9.3.2)."""

    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(content)) + content

    syntaxes = item(0x30, b"1.2.840.10008.5.1.4.1.1.77.1.6") + item(0x40, b"1.2.840.10008.1.2.1")
    variable = (
        item(0x10, b"1.2.840.10008.3.1.1.1")
        + item(0x20, b"\x01\x00\x00\x00" + syntaxes)
        + item(0x50, item(0x51, struct.pack(">I", PDU_BYTES)) + item(0x52, b"1.2.3"))
    )
    fixed = struct.pack(">H2x16s16s32x", 1, TITLE.ljust(16).encode(), PEER.ljust(16).encode())
    return struct.pack(">BxI", 1, len(fixed) + len(variable)) + fixed + variable


def command_set(instance: bytes = b"1.2.3.4\0") -> bytes:
    """Return the command of a C-STORE-RQ (PS3.7, 9.3.1), as one P-DATA-TF."""

    def element(number: int, value: bytes) -> bytes:
        return struct.pack("<HHI", 0, number, len(value)) + value

    body = (
        element(0x0002, b"1.2.840.10008.5.1.4.1.1.77.1.6")
        + element(0x0100, struct.pack("<H", 1))
        + element(0x0110, struct.pack("<H", 1))
        + element(0x0700, struct.pack("<H", 0))
        + element(0x0800, struct.pack("<H", 1))
        + element(0x1000, instance)
    )
    return data_pdu(element(0, struct.pack("<I", len(body))) + body, 3)


def data_pdu(content: bytes, control: int) -> bytes:
    value = struct.pack(">IBB", len(content) + 2, 1, control) + content
    return struct.pack(">BxI", 4, len(value)) + value


def test_a_connection_that_is_lost_in_the_middle_leaves_nothing(node: NodeProcess) -> None:
    before = look(node).files()
    with socket.create_connection(("127.0.0.1", node.port), 60) as peer:
        peer.sendall(association_request())
        assert peer.recv(1) == b"\x02", "accepted"
        peer.sendall(command_set() + data_pdu(bytes(100_000), 0))
        wait_until(lambda: look(node).arrivals() != [], "a file on its way", 60)
    wait_until(lambda: look(node).arrivals() == [], "an empty folder", 60)
    assert look(node).files() == before


@pytest.mark.parametrize(
    "pdu", [b"\x01\x00\xff\xff\xff\xff", b"\x04\x00\x10\x00\x00\x00", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_a_length_that_lies_costs_no_memory_and_ends_its_connection(node: NodeProcess, pdu: bytes) -> None:
    with socket.create_connection(("127.0.0.1", node.port), 60) as peer:
        peer.sendall(pdu + bytes(1000))
        peer.shutdown(socket.SHUT_WR)
        wait_until(lambda: ended(peer), "the end of the connection", 60)
    assert "Received Echo Response (Success)" in dcmtk("echoscu", node)


@pytest.mark.parametrize("name", [b"PHIKOWALSKI^JAN ", b"1.2.PHIKOWALSKI\0", b"1.02.PHI\\KOWALSKI"])
def test_what_a_peer_calls_an_instance_is_not_written_to_the_log(node: NodeProcess, name: bytes) -> None:
    with socket.create_connection(("127.0.0.1", node.port), 60) as peer:
        peer.sendall(association_request())
        assert peer.recv(1) == b"\x02", "accepted"
        peer.sendall(command_set(name) + data_pdu(bytes(100), 2))
        peer.shutdown(socket.SHUT_WR)
        wait_until(lambda: ended(peer), "the end of the connection", 60)
    assert "Received Echo Response (Success)" in dcmtk("echoscu", node)
    assert b"KOWALSKI" not in node.errors.read_bytes()
    assert "KOWALSKI" not in str(list(look(node).audit.rows()))


def ended(peer: socket.socket) -> bool:
    try:
        return peer.recv(1000) == b""
    except ConnectionResetError:
        return True


def test_nothing_unforeseen_was_logged_and_it_ends_in_order(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "store") as node:
        assert "Coercion" in send(node, write(tmp_path, instance()))
        assert node.stop() == 0
        assert node.errors.read_bytes() == b""
