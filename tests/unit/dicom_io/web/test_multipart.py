from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.web.multipart import MultipartError, iter_parts, media_type

BOUNDARY = "b-0"


def body(
    *parts: bytes, header: bytes = b"Content-Type: a/b; transfer-syntax=1.2", end: bytes = b"--"
) -> bytes:
    made = b"".join(b"\r\n--b-0\r\n" + header + b"\r\n\r\n" + part for part in parts)
    return b"preamble" + made + b"\r\n--b-0" + end


def split(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, position, turn = [], 0, 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        pieces.append(data[position : position + size])
        position, turn = position + size, turn + 1
    return pieces


@given(
    st.lists(st.binary(max_size=60).filter(lambda b: b"\r\n--b-0" not in b), max_size=5),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_parts_come_back_however_the_body_is_cut(parts: list[bytes], sizes: list[int]) -> None:
    found = list(iter_parts(split(body(*parts), sizes), BOUNDARY, 1000))
    assert [part.body for part in found] == parts
    assert all(part.media_type == "a/b" and part.parameters == {"transfer-syntax": "1.2"} for part in found)


def test_a_part_may_have_no_header() -> None:
    (part,) = iter_parts([b"--b-0\r\n\r\ndata\r\n--b-0--"], BOUNDARY, 100)
    assert (part.media_type, part.body) == ("application/octet-stream", b"data")


@pytest.mark.parametrize("cut", [5, 12, 30, 60, 75, -1, -2, -7])
def test_a_body_that_is_cut_off_is_an_error(cut: int) -> None:
    with pytest.raises(MultipartError, match="cut off"):
        list(iter_parts([body(b"some data", b"more data")[:cut]], BOUNDARY, 100))


@pytest.mark.parametrize("padding", [b" ", b"\t", b" \t  "])
def test_white_space_after_a_boundary_is_ignored(padding: bytes) -> None:
    data = body(b"one", b"two").replace(b"--b-0\r\n", b"--b-0" + padding + b"\r\n") + padding + b"\r\n"
    assert [part.body for part in iter_parts(split(data, [7]), BOUNDARY, 100)] == [b"one", b"two"]


def test_a_part_says_where_it_is_from() -> None:
    header = b"content-type: a/b\r\nContent-Location:  https://store.org/frames/5 "
    (part,) = iter_parts([body(b"x", header=header)], BOUNDARY, 100)
    assert part.location == "https://store.org/frames/5"


def test_a_part_that_is_too_large_is_an_error_before_it_is_held() -> None:
    def endless() -> object:
        yield body(b"")[:-9]
        while True:
            yield b"x" * 1000

    with pytest.raises(MultipartError, match="too large"):
        list(iter_parts(endless(), BOUNDARY, 5000))  # type: ignore[arg-type]


def test_garbage_after_a_boundary_is_an_error() -> None:
    with pytest.raises(MultipartError):
        list(iter_parts([body(b"x", end=b"garbage")], BOUNDARY, 100))


@given(st.binary(max_size=200))
def test_any_bytes_are_parts_or_an_error(data: bytes) -> None:
    with contextlib.suppress(MultipartError):
        list(iter_parts([data], BOUNDARY, 100))


def test_a_media_type_is_split_from_its_parameters() -> None:
    kind, parameters = media_type('Multipart/Related; type="a/b"; boundary="x y"')
    assert kind == "multipart/related"
    assert parameters == {"type": "a/b", "boundary": "x y"}
    assert media_type("") == ("text/plain", {})
