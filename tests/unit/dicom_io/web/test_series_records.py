"""Metadata and frames as records: what is kept of them, and in which syntax frames have come."""

from __future__ import annotations

import base64

import pytest

from dicom_io.codecs.frame_format import FrameFormat
from dicom_io.colour.profiles import IccTarget, target_profile, without_padding
from dicom_io.errors import ImageCode, ImageError
from dicom_io.slides.instance import MAX_ICC_BYTES, SopInstance, parse_instance
from dicom_io.web.dicom_json import parse_datasets
from dicom_io.web.frame_syntax import Wanted, syntax_of, ways_to_ask
from dicom_io.web.multipart import Part
from tests.support.tissue import encode, tissue

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
JPEG, LOSSLESS, J2K, HTJ2K = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 70, 90, 201))
FORM = FrameFormat(8, 8, 3, "RGB", 0)
RAW, SOI, SOC = bytes(192), encode(tissue(8, 8), "JPEG"), b"\xff\x4f\xff\x51" + bytes(60)
OCTETS = "application/octet-stream"


def instance(**values: object) -> SopInstance:
    tags = {"syntaxes": "00083002", "stored": "00020010", "kind": "00080008", "photometric": "00280004"}
    return parse_instance({tags[name]: {"Value": value} for name, value in values.items()})


def with_profile(size: int) -> SopInstance:
    inline = base64.b64encode(bytes(size)).decode("ascii")
    return parse_instance({"00282000": {"vr": "OB", "InlineBinary": inline}})


def test_what_an_instance_takes_in_memory_is_counted() -> None:
    plain = instance().kept_bytes
    assert 300 < plain < 10_000
    assert with_profile(5_000_000).kept_bytes - plain == pytest.approx(5_000_000, rel=0.01)
    assert instance(photometric=["x" * 1_000_000]).kept_bytes - plain == pytest.approx(1_000_000, rel=0.01)
    assert instance(kind=["y" * 10] * 10_000).kept_bytes - plain > 500_000
    assert instance(syntaxes=[f"1.2.{n}" for n in range(10_000)]).kept_bytes - plain > 500_000


def test_an_inline_profile_that_is_too_large_is_not_kept() -> None:
    kept = with_profile(MAX_ICC_BYTES).icc
    assert kept is not None
    assert kept.inline == bytes(MAX_ICC_BYTES)
    refused = with_profile(MAX_ICC_BYTES + 3)
    assert refused.icc is not None
    assert refused.icc.inline == b""
    assert refused.kept_bytes < 10_000


def test_available_syntaxes_come_in_one_order_the_stored_one_first() -> None:
    assert instance(syntaxes=[JPEG, EXPLICIT]).transfer_syntaxes == (EXPLICIT, JPEG)
    assert instance(syntaxes=[EXPLICIT, JPEG + "\0"]).transfer_syntaxes == (EXPLICIT, JPEG)
    assert instance(syntaxes=[EXPLICIT, JPEG], stored=[JPEG]).transfer_syntaxes == (JPEG, EXPLICIT)
    assert instance().transfer_syntax is None


@pytest.mark.parametrize(
    ("kind", "said", "listed", "body", "as_stored", "found"),
    [
        (OCTETS, JPEG, [J2K], SOI, True, JPEG),
        (OCTETS, EXPLICIT, [], RAW, True, EXPLICIT),
        (OCTETS, EXPLICIT, [LOSSLESS], SOI, True, LOSSLESS),  # called native, and it is not
        (OCTETS, EXPLICIT, [], SOI, True, JPEG),
        (OCTETS, "", [LOSSLESS], SOI, True, LOSSLESS),
        (OCTETS, "", [LOSSLESS], RAW, True, EXPLICIT),
        (OCTETS, "", [LOSSLESS], RAW, False, EXPLICIT),
        (OCTETS, "", [], SOI, True, JPEG),
        (OCTETS, "", [EXPLICIT, JPEG], SOI, True, JPEG),
        (OCTETS, "", [EXPLICIT, JPEG], RAW, True, EXPLICIT),
        (OCTETS, "", [EXPLICIT, IMPLICIT], RAW, True, IMPLICIT),
        ("image/jpeg", "", [], SOI, True, JPEG),
        ("image/jpeg", "", [LOSSLESS], SOI, True, LOSSLESS),
        ("image/jpeg", "", [J2K], SOI, False, JPEG),
        ("image/jp2", "", [HTJ2K], SOC, True, J2K),
        ("image/jphc", "", [HTJ2K], SOC, True, HTJ2K),
        (OCTETS, "1.2.840.10008.1.2.4.102", [], b"mpeg", True, "1.2.840.10008.1.2.4.102"),
        (OCTETS, "", [], b"what is this", True, "unknown"),
    ],
)
def test_a_frames_syntax_is_its_parts_then_the_metadatas_then_its_bytes(
    kind: str, said: str, listed: list[str], body: bytes, as_stored: bool, found: str
) -> None:
    part = Part(kind, {"transfer-syntax": said} if said else {}, body)
    assert syntax_of(part, instance(syntaxes=listed), FORM, Wanted("", as_stored)) == found


def test_frames_are_asked_for_as_stored_before_anything_is_transcoded() -> None:
    ways = list(ways_to_ask(instance(syntaxes=[J2K])))
    assert "transfer-syntax=*" in ways[0].accept
    assert ways[1].accept == f'multipart/related; type="image/jp2"; transfer-syntax={J2K}'
    assert [way.as_stored for way in ways] == [True, True, False, False, False]
    assert "image/jphc" in list(ways_to_ask(instance()))[1].accept
    assert len(list(ways_to_ask(instance(syntaxes=[EXPLICIT])))) == 4


@pytest.mark.parametrize("text", [b"", b"  \n", b"\xef\xbb\xbf", b"[]", b"\xef\xbb\xbf[]"])
def test_nothing_is_no_data_set(text: bytes) -> None:
    assert parse_datasets(text) == []


@pytest.mark.parametrize(
    "text",
    [
        b'[{"a": NaN}]',
        b'[{"a": -Infinity}]',
        b'[{"a": "\\ud83d"}]',
        b'[{"a": "\xff\xe4"}]',
        b'[{"a": "\xed\xa0\x80"}]',
    ],
)
def test_what_is_nearly_json_is_read(text: bytes) -> None:
    assert list(parse_datasets(text)[0]) == ["a"]
    assert parse_datasets(text[:-2] + b', "00280010": {"vr": "US", "Value": [7]}}]')[0]["00280010"]


@pytest.mark.parametrize(
    "text",
    [b"{", b"5", b"[5]", b'[{"a": nan}]', b"[" * 100_000, b'[{"a": NaN, "b": ' + b"9" * 5000 + b"}]",
     b'[{"a": NaN, "b": "' + b"x" * (17 << 20) + b'"}]', b"[{'a': 1}]"],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_json_or_too_much_of_it_is_an_error(text: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        parse_datasets(text)
    assert caught.value.code is ImageCode.DICOM_ERROR


def test_an_icc_profile_ends_where_it_says() -> None:
    profile = target_profile(IccTarget.ADOBERGB)
    for padding in (b"", b"\0", b"\0\0\0"):
        assert without_padding(profile + padding) == profile
    for other in (profile + b"\1", profile[:-1], b"", b"\0" * 200, b"no profile"):
        assert without_padding(other) == other
