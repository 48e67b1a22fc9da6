from __future__ import annotations

from http import HTTPStatus
from xml.etree import ElementTree as ET

import pytest

from serving.store.dicomweb.stow_answer import JSON, XML, StowAnswer, encoded
from serving.store.ingest.outcome import Outcome, SopReference, Status, Verdict
from serving.store.uids import InstanceUids

SENT = SopReference("1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.3")
NEW = InstanceUids("2.25.1", "2.25.2", "2.25.3")
STORED = Outcome(Verdict.STORED, Status.COERCED, SENT, NEW)
AS_SENT = Outcome(Verdict.SAME, Status.SUCCESS, SENT, NEW)
REFUSED = Outcome(Verdict.REFUSED, Status.CANNOT_UNDERSTAND, SENT, reason="It is none.")
NAMELESS = Outcome(Verdict.REFUSED, Status.CANNOT_UNDERSTAND, reason="It is none.")
DUPLICATE = Outcome(Verdict.CONFLICT, Status.DUPLICATE_INSTANCE, SENT, reason="Another has its UID.")
FULL = Outcome(Verdict.REFUSED, Status.OUT_OF_RESOURCES, SENT, reason="No room.")


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([AS_SENT], HTTPStatus.OK),
        ([STORED], HTTPStatus.ACCEPTED),
        ([AS_SENT, REFUSED], HTTPStatus.ACCEPTED),
        ([REFUSED], HTTPStatus.CONFLICT),
        ([DUPLICATE, NAMELESS], HTTPStatus.CONFLICT),
        ([FULL, FULL], HTTPStatus.INSUFFICIENT_STORAGE),
        ([FULL, REFUSED], HTTPStatus.CONFLICT),
        ([FULL, STORED], HTTPStatus.ACCEPTED),
    ],
)
def test_the_status_says_whether_all_some_or_none_are_stored(
    outcomes: list[Outcome], status: HTTPStatus
) -> None:
    assert StowAnswer(outcomes, "http://s").status is status


def test_the_study_has_an_address_where_all_are_of_one() -> None:
    other = Outcome(Verdict.STORED, Status.COERCED, SENT, InstanceUids("2.25.9", "2.25.2", "2.25.4"))
    assert StowAnswer([STORED, REFUSED], "http://s").document()["00081190"]["Value"] == [
        "http://s/studies/2.25.1"
    ]
    assert "00081190" not in StowAnswer([STORED, other], "http://s").document()


def test_what_has_no_name_is_among_other_failures() -> None:
    document = StowAnswer([NAMELESS, DUPLICATE], "http://s").document()
    assert [item["00081197"]["Value"] for item in document["0008119A"]["Value"]] == [[0xC000]]
    assert [item["00081155"]["Value"] for item in document["00081198"]["Value"]] == [["1.2.3"]]
    assert "00081199" not in document


def test_xml_says_the_same_as_json() -> None:
    document = StowAnswer([STORED, DUPLICATE, NAMELESS], "http://s").document()
    assert encoded(document, JSON).startswith(b'{"00081190"')
    root = ET.fromstring(encoded(document, XML))
    values = {
        (node.get("keyword"), value.text)
        for node in root.iter("DicomAttribute")
        for value in node.findall("Value")
    }
    assert values >= {
        ("ReferencedSOPInstanceUID", "2.25.3"),
        ("ReferencedSOPInstanceUID", "1.2.3"),
        ("WarningReason", str(0xB000)),
        ("FailureReason", str(0x0111)),
        ("FailureReason", str(0xC000)),
        ("RetrieveURL", "http://s/studies/2.25.1/series/2.25.2/instances/2.25.3"),
    }
