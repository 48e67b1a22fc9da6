"""What a client accepts, in the ways in which clients write it."""

from __future__ import annotations

import pytest

from serving.errors import Code, ServiceError
from serving.store.dicomweb.accept import MediaRange, accepted, require


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, [("*/*", None, "*")]),
        ("", [("*/*", None, "*")]),
        ("*/*", [("*/*", None, "*")]),
        ("image/jpeg", [("image/jpeg", False, "")]),
        ('multipart/related; type="image/jpeg"', [("image/jpeg", True, "")]),
        ("multipart/related; type=image/jpeg; transfer-syntax=1.2", [("image/jpeg", True, "1.2")]),
        ('multipart/related; type="image/jpeg;transfer-syntax=*"', [("image/jpeg", True, "*")]),
        ('Multipart/Related; Type="Image/JPEG"', [("image/jpeg", True, "")]),
        ("multipart/related", [("*/*", True, "")]),
        ("a/b;q=0.2, c/d, e/f;q=0.5", [("c/d", False, ""), ("e/f", False, ""), ("a/b", False, "")]),
        ("a/b;q=0, c/d;q=x", [("c/d", False, "")]),
        ('multipart/related; type="a/b, c/d", e/f', [("text/plain", True, ""), ("e/f", False, "")]),
    ],
)
def test_media_types_are_read_with_what_is_wanted_most_first(
    header: str | None, found: list[tuple[str, bool | None, str]]
) -> None:
    assert [(one.kind, one.is_multipart, one.syntax) for one in accepted(header)] == found


def test_a_range_covers_its_kinds() -> None:
    image = MediaRange("image/*", False, "", 1.0)
    assert image.covers("image/jpeg")
    assert not image.covers("imagery/jpeg")
    assert not MediaRange("image/jpeg", False, "", 1.0).covers("image/jp2")


def test_what_is_not_accepted_is_named_with_what_there_is() -> None:
    assert require(accepted("text/html, application/*"), "application/dicom+json") == "application/dicom+json"
    with pytest.raises(ServiceError, match=r"application/dicom\+json") as caught:
        require(accepted("text/html"), "application/dicom+json")
    assert caught.value.code is Code.NOT_ACCEPTABLE_ERROR


def test_too_many_media_types_are_refused() -> None:
    with pytest.raises(ServiceError) as caught:
        accepted(",".join(["a/b"] * 101))
    assert caught.value.code is Code.INVALID_REQUEST_FIELD_ERROR
