"""The answer to STOW: the Store Instances Response Module as DICOM JSON or XML (PS3.18, 10.5.3 and I.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from xml.etree import ElementTree as ET

import orjson

from serving.store.ingest.outcome import Outcome, SopReference, Status
from serving.store.uids import InstanceUids

JSON, XML = "application/dicom+json", "application/dicom+xml"

_KEYWORDS = {
    "00081150": "ReferencedSOPClassUID",
    "00081155": "ReferencedSOPInstanceUID",
    "00081190": "RetrieveURL",
    "00081196": "WarningReason",
    "00081197": "FailureReason",
    "00081198": "FailedSOPSequence",
    "00081199": "ReferencedSOPSequence",
    "0008119A": "OtherFailuresSequence",
    "00081195": "TransactionUID",
}

Document = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class StowAnswer:
    """What became of a request's instances.

    Attributes
    ----------
    outcomes:
        In the order of the request's parts.
    base:
        Address of the store as the client asked for it, without a slash at its end.
    """

    outcomes: Sequence[Outcome]
    base: str

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status (PS3.18, table 10.5.3-1).

        507 where nothing was stored because there is no room: another store might take it.
        """
        here = [outcome for outcome in self.outcomes if outcome.is_here]
        if not here:
            full = self.outcomes and all(o.status is Status.OUT_OF_RESOURCES for o in self.outcomes)
            return HTTPStatus.INSUFFICIENT_STORAGE if full else HTTPStatus.CONFLICT
        if len(here) == len(self.outcomes) and all(o.status is Status.SUCCESS for o in here):
            return HTTPStatus.OK
        return HTTPStatus.ACCEPTED

    def document(self) -> Document:
        """Return the response as DICOM JSON Model (PS3.18, F.2)."""
        stored = [outcome for outcome in self.outcomes if outcome.is_here]
        failed = [outcome for outcome in self.outcomes if not outcome.is_here]
        studies = {outcome.stored.study for outcome in stored if outcome.stored}
        document: Document = {}
        if len(studies) == 1:  # several have no address in common
            document["00081190"] = _value("UR", f"{self.base}/studies/{studies.pop()}")
        _put(document, "00081198", (_failed(o, o.sent) for o in failed if o.sent))
        _put(document, "00081199", (self._stored(o, o.sent, o.stored) for o in stored if o.sent and o.stored))
        _put(document, "0008119A", (_reason(o) for o in failed if not o.sent))
        return document

    def _stored(self, outcome: Outcome, sent: SopReference, uids: InstanceUids) -> Document:
        address = f"{self.base}/studies/{uids.study}/series/{uids.series}/instances/{uids.sop}"
        item = _reference(SopReference(sent.sop_class, uids.sop)) | {"00081190": _value("UR", address)}
        if outcome.status is not Status.SUCCESS:
            item["00081196"] = _value("US", int(outcome.status))
        return item


def encoded(document: Document, media_type: str) -> bytes:
    """Return the bytes of a response in a media type."""
    return orjson.dumps(document) if media_type == JSON else _xml(document)


def _reference(to: SopReference) -> Document:
    return {"00081150": _value("UI", to.sop_class), "00081155": _value("UI", to.sop)}


def _failed(outcome: Outcome, sent: SopReference) -> Document:
    return _reference(sent) | _reason(outcome)


def _reason(outcome: Outcome) -> Document:
    return {"00081197": _value("US", int(outcome.status))}


def _put(document: Document, tag: str, items: Iterable[Document]) -> None:
    if found := list(items):
        document[tag] = {"vr": "SQ", "Value": found}


def _value(vr: str, value: str | int) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _xml(document: Document) -> bytes:
    """Return the Native DICOM Model (PS3.19, A.1) of a response."""
    root = ET.Element("NativeDicomModel", {"xml:space": "preserve"})
    _elements(root, document)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _elements(parent: ET.Element, document: Document) -> None:
    for tag, element in sorted(document.items()):
        names = {"tag": tag, "vr": element["vr"], "keyword": _KEYWORDS[tag]}
        node = ET.SubElement(parent, "DicomAttribute", names)
        for number, value in enumerate(element["Value"], 1):
            if element["vr"] == "SQ":
                _elements(ET.SubElement(node, "Item", {"number": str(number)}), value)
            else:
                ET.SubElement(node, "Value", {"number": str(number)}).text = str(value)
