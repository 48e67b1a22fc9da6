"""What every instance is given, whatever it had."""

from __future__ import annotations

from pydicom.datadict import tag_for_keyword

from serving.store.deidentify.elements import element, item

_METHOD = b"pathserve: keep-list of attributes, codes and frame segments"
_CODES = (
    (b"113100", b"Basic Application Confidentiality Profile"),
    (b"113104", b"Clean Structured Content Option"),
    (b"113105", b"Clean Descriptors Option"),
)
"""What the keep-list does (PS3.15, table E.1-1; PS3.16, CID 7050). Not 113101, Clean Pixel Data: nothing here
looks at pixels. Not 113106 and 113107: dates do not stay."""

_LONG_AGO = b"19000101"
_ATTRIBUTES = (
    ("SpecificCharacterSet", b"CS", b"ISO_IR 192"),
    ("StudyDate", b"DA", b""),
    ("ContentDate", b"DA", _LONG_AGO),
    ("AcquisitionDateTime", b"DT", _LONG_AGO + b"000000"),
    ("StudyTime", b"TM", b""),
    ("ContentTime", b"TM", b"000000"),
    ("AccessionNumber", b"SH", b""),
    ("ReferringPhysicianName", b"PN", b""),
    ("PatientName", b"PN", b""),
    ("PatientID", b"LO", b""),
    ("PatientBirthDate", b"DA", b""),
    ("PatientSex", b"CS", b""),
    ("PatientIdentityRemoved", b"CS", b"YES"),
    ("DeidentificationMethod", b"LO", _METHOD),
    ("StudyID", b"SH", b""),
    ("LongitudinalTemporalInformationModified", b"CS", b"REMOVED"),
)
"""Empty where an attribute may be (type 2), a date that was none where it may not (type 1)."""


def _tag(name: str) -> int:
    tag = tag_for_keyword(name)
    assert tag is not None, name
    return tag


def _code(value: bytes, meaning: bytes) -> bytes:
    return item(
        element(0x00080100, b"SH", value)
        + element(0x00080102, b"SH", b"DCM")
        + element(0x00080104, b"LO", meaning)
    )


GIVEN: tuple[tuple[int, bytes], ...] = tuple(
    sorted([
        *((_tag(name), element(_tag(name), vr, value)) for name, vr, value in _ATTRIBUTES),
        (0x00120064, element(0x00120064, b"SQ", b"".join(_code(*code) for code in _CODES))),
    ])
)  # fmt: skip
"""Tags in ascending order and elements as they are written. An attribute that stays is not given again."""
