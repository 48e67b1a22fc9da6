from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.store.ingest.arrival import DiskFull, TooLarge
from serving.store.ingest.ingest import QUARANTINE
from serving.store.ingest.outcome import Status, Verdict
from tests.support import raw_dicom
from tests.support.slides import pyramid
from tests.support.store_ingest import OpenStore, files_in


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OpenStore]:
    store = OpenStore(tmp_path / "store")
    yield store
    store.close()


def slide(**changes: object) -> bytes:
    changes = {"BurnedInAnnotation": "NO", "SpecimenLabelInImage": "NO"} | changes
    return pyramid("JPEG", [(500, 300)], **changes).instances[0].file()


def test_an_instance_is_stored_under_new_uids_which_its_sender_is_told(store: OpenStore) -> None:
    outcome = store.add(data := slide())
    assert (outcome.verdict, outcome.status) == (Verdict.STORED, Status.COERCED)
    assert outcome.sent is not None
    assert outcome.stored is not None
    assert outcome.sent.sop.encode() in data
    assert outcome.stored.sop.startswith("2.25.")
    (path,) = store.files()
    assert store.indexed() == [path]
    assert outcome.sent.sop.encode() not in (store.folder / path).read_bytes()
    assert store.arrivals() == []


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00080005, "CS", b"PHIKOWALSKI"),
        (0x00080005, "CS", b"ISO_IR 192\\PHIKOWALSKI"),
        (0x00080005, "LO", b"PHIKOWALSKI"),
        (0x00080001, "UL", b"PHIKOWALSKI!"),
        (0x00080012, "DA", b"PHIKOWALSKI"),
        (0x0008001A, "UI", b"PHIKOWALSKI"),
        (0x0020000B, "UI", b"PHIKOWALSKI"),
    ],
)
def test_what_a_header_says_is_not_written_to_the_log(
    tag: int, vr: str, value: bytes, store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    elements = raw_dicom.minimal() | {tag: (vr, value)}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        outcome = store.add(raw_dicom.file_of(raw_dicom.data_set(elements)))
    assert outcome.verdict is Verdict.STORED
    assert [str(warning.message) for warning in warned] == []
    assert "KOWALSKI" not in caplog.text
    assert not [path for path in store.files() if b"KOWALSKI" in (store.folder / path).read_bytes()]


def test_the_same_instance_again_changes_nothing(store: OpenStore) -> None:
    first = store.add(data := slide())
    again = store.add(data)
    assert again.verdict is Verdict.SAME
    assert again.stored == first.stored
    assert len(store.files()) == len(store.indexed()) == 1


def test_another_instance_of_the_same_uid_is_put_aside_and_not_shown(store: OpenStore) -> None:
    made = pyramid("JPEG", [(500, 300)], BurnedInAnnotation="NO", SpecimenLabelInImage="NO").instances[0]
    store.add(made.file())
    kept = store.files()
    made.frames.reverse()
    outcome = store.add(made.file())
    assert (outcome.verdict, outcome.status) == (Verdict.CONFLICT, Status.DUPLICATE_INSTANCE)
    assert outcome.stored is None
    assert store.files() == store.indexed() == kept
    assert len(files_in(store.folder / QUARANTINE, store.folder)) == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, Status.CANNOT_UNDERSTAND),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, Status.CLASS_NOT_SUPPORTED),
        ({"StudyInstanceUID": "../../etc/passwd"}, Status.CANNOT_UNDERSTAND),
        ({"SeriesInstanceUID": "1.2/../3"}, Status.CANNOT_UNDERSTAND),
        ({"SOPInstanceUID": "1." + "2" * 64}, Status.CANNOT_UNDERSTAND),
        ({"StudyInstanceUID": None}, Status.CANNOT_UNDERSTAND),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI", "ignore:The value length")
def test_what_may_not_be_shown_or_named_is_refused_with_a_row_in_the_audit_trail(
    store: OpenStore, changes: dict[str, object], status: Status
) -> None:
    outcome = store.add(slide(**changes))
    assert (outcome.verdict, outcome.status) == (Verdict.REFUSED, status)
    assert outcome.reason.endswith(".")
    (row,) = store.audit.rows()
    assert (row["outcome"], row["reason"], row["uids"]) == ("refused", outcome.reason, [])
    assert store.files() == store.indexed() == store.arrivals() == []


@pytest.mark.parametrize("keep", [0, 1, 128, 131, 132, 140, 200, 400, 0.5, 0.9, -1])
def test_a_file_that_is_cut_off_anywhere_is_refused_and_gone(store: OpenStore, keep: float) -> None:
    data = slide()
    outcome = store.add(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    assert outcome.verdict is Verdict.REFUSED
    assert store.files() == store.arrivals() == []


def test_an_instance_beyond_the_limit_is_not_written_further(tmp_path: Path) -> None:
    store = OpenStore(tmp_path / "store", max_bytes=1 << 16)
    with store.ingest.arrival() as arrival:
        arrival.write(bytes(60_000))
        with pytest.raises(TooLarge):
            arrival.write(bytes(6_000))
        assert arrival.size == 60_000
    assert store.arrivals() == []
    store.close()


def test_with_too_little_room_on_the_disk_nothing_is_taken_in(tmp_path: Path) -> None:
    store = OpenStore(tmp_path / "store", min_free=1 << 60)
    with pytest.raises(DiskFull):
        store.ingest.arrival()
    path = tmp_path / "slide.dcm"
    path.write_bytes(slide())
    store.close()


def test_audit_rows_hold_new_uids_and_no_old_ones(store: OpenStore) -> None:
    outcome = store.add(slide())
    (row,) = store.audit.rows()
    assert outcome.stored is not None
    assert outcome.sent is not None
    assert row["uids"] == [outcome.stored.study, outcome.stored.series, outcome.stored.sop]
    assert outcome.sent.sop not in str(row)


def after_meta(data: bytes) -> int:
    """Return where the data set of a file begins: behind the group length's element and what it counts."""
    return 132 + 12 + int.from_bytes(data[140:144], "little")


def deep(levels: int) -> bytes:
    """Return sequences in sequences, in a group before the names of an instance."""
    opened = b"\x08\x00\x06\x00SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return opened * levels + (b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0") * levels


@pytest.mark.parametrize(
    "inserted",
    [
        deep(10_000),
        deep(10_000)[: 20 * 10_000],
        b"\x08\x00\x06\x00UN\0\0\xf0\xff\xff\xff",
        b"\x08\x00\x06\x00OB\0\0\xff\xff\xff\x7f",
        b"\x08\x00\x06\x00\xff\xff\xff\xff",
        b"\x08\x00\x05\x00CS\xff\xff",
        b"\0" * 100_000,
    ],
    ids=["deep", "deep and open", "4 GB of UN", "2 GB of OB", "no VR", "64 KB of CS", "zeros"],
)
def test_lengths_that_lie_and_sequences_without_end_are_refused(store: OpenStore, inserted: bytes) -> None:
    data = slide()
    at = after_meta(data)
    outcome = store.add(data[:at] + inserted + data[at:])
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.status in (Status.CANNOT_UNDERSTAND, Status.WRONG_CLASS)
    assert store.files() == store.arrivals() == []
