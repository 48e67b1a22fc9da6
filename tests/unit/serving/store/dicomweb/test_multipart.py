"""Multipart answers are as long as they say, and come apart into what went in."""

from __future__ import annotations

from dicom_io.web.multipart import iter_parts, media_type
from serving.store.dicomweb.multipart import Part, related, sized


def test_parts_are_written_as_they_are_sent_and_their_length_is_known_before() -> None:
    parts = [
        Part("image/jpeg; transfer-syntax=1.2", "http://here/1", 5, (b"on", b"e..")),
        Part("image/jpeg", "", 0, ()),
    ]
    answer = related("image/jpeg", parts, sized(parts))
    body = answer.get_data()
    assert answer.content_length == len(body)
    kind, parameters = media_type(answer.headers["Content-Type"])
    assert (kind, parameters["type"]) == ("multipart/related", "image/jpeg")
    read = list(iter_parts([body], parameters["boundary"], 100))
    assert [part.body for part in read] == [b"one..", b""]
    assert read[0].parameters == {"transfer-syntax": "1.2"}
    assert b"Content-Location: http://here/1\r\n" in body


def test_a_part_of_unknown_length_leaves_the_whole_without_one() -> None:
    parts = [Part("a/b", "", None, (b"x",))]
    assert sized(parts) is None
    assert "Content-Length" not in related("a/b", parts, sized(parts)).headers
