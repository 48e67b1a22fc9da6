from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.store.dicomweb.stow_body import BadBody, UnknownMediaType, read_parts

TYPE = 'multipart/related; type="application/dicom"; boundary=gap'


class Parts:
    def __init__(self) -> None:
        self.whole: list[tuple[str, bytes]] = []
        self.media_type = ""
        self.bytes = b""

    def begin(self, media_type: str) -> None:
        self.media_type, self.bytes = media_type, b""

    def data(self, piece: memoryview) -> None:
        self.bytes += piece

    def end(self) -> None:
        self.whole.append((self.media_type, self.bytes))


class Slow:
    """Gives a few bytes at a time, as a socket may."""

    def __init__(self, data: bytes, step: int) -> None:
        self._file, self._step = io.BytesIO(data), step

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, self._step))


def body(
    *parts: bytes, header: bytes = b"Content-Type: application/dicom\r\n", boundary: bytes = b"gap"
) -> bytes:
    inner = b"".join(b"--" + boundary + b"\r\n" + header + b"\r\n" + part + b"\r\n" for part in parts)
    return inner + b"--" + boundary + b"--"


def read(data: bytes, content_type: str = TYPE, *, step: int = 1 << 20, length: int | None = None) -> Parts:
    parts = Parts()
    read_parts(Slow(data, step), content_type, length, parts)
    return parts


@given(
    contents=st.lists(st.binary(max_size=60).filter(lambda data: b"\r\n--gap" not in data), max_size=4),
    step=st.integers(1, 40),
)
def test_parts_come_out_as_they_went_in_however_the_bytes_arrive(contents: list[bytes], step: int) -> None:
    found = read(body(*contents), step=step).whole
    assert found == [("application/dicom", content) for content in contents]


@pytest.mark.parametrize(
    "content", [b"\r\n--ga", b"\r\n--gaps", b"\r\n--gap-", b"--gap\r\n", b"\r", b"\r\n" * 9]
)
@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_what_resembles_a_boundary_is_content(content: bytes, step: int) -> None:
    assert read(body(b"a" + content + b"z"), step=step).whole[0][1] == b"a" + content + b"z"


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_a_body_that_is_cut_off_anywhere_gives_no_half_part(step: int) -> None:
    data = body(b"first", b"second")
    for end in range(len(data)):
        parts = Parts()
        with pytest.raises(BadBody):
            read_parts(Slow(data[:end], step), TYPE, None, parts)
        assert [content for _, content in parts.whole] in ([], [b"first"], [b"first", b"second"])


def test_a_body_shorter_than_its_length_is_cut_off_though_it_ends_well() -> None:
    data = body(b"first")
    with pytest.raises(BadBody, match="ends before"):
        read(data, length=len(data) + 10)


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/related;type="application/dicom";boundary="gap"',
        "Multipart/Related; boundary=gap; type=application/dicom",
        "multipart/related; type=application/dicom; boundary=gap; start=x",
        'multipart/related; boundary="gap"',
        'multipart/related; type="*/*"; boundary=gap',
    ],
)
def test_content_types_as_clients_write_them_are_understood(content_type: str) -> None:
    assert len(read(body(b"x"), content_type).whole) == 1


def test_one_instance_may_come_without_multipart() -> None:
    assert read(b"whole", "application/dicom", length=5).whole == [("application/dicom", b"whole")]
    with pytest.raises(BadBody):
        read(b"whole", "application/dicom", length=6)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/octet-stream",
        "multipart/form-data; boundary=gap",
        'multipart/related; type="application/dicom+json"; boundary=gap',
        'multipart/related; type="application/dicom+xml"; boundary=gap',
    ],
)
def test_other_media_types_are_refused(content_type: str) -> None:
    with pytest.raises(UnknownMediaType, match="application/dicom"):
        read(body(b"x"), content_type)


@pytest.mark.parametrize("boundary", ["", "a" * 101, "ends-in-space ", "ümlaut", "new\nline"])
def test_a_boundary_that_is_none_is_refused(boundary: str) -> None:
    with pytest.raises(BadBody, match="boundary"):
        read(body(b"x"), f'multipart/related; type="application/dicom"; boundary="{boundary}"')


@pytest.mark.parametrize(
    "data",
    [
        b"no multipart at all",
        b"--other\r\n\r\nx\r\n--other--",
        b"--gap\r\n" + b"X-Header: 1\r\n" * 100 + b"\r\nx\r\n--gap--",
        b"--gap\r\nX-Header: " + b"1" * 100_000 + b"\r\n\r\nx\r\n--gap--",
        b"--gap\r\n: no name\r\n\r\nx\r\n--gap--",
    ],
)
def test_what_is_not_the_multipart_it_says_is_refused(data: bytes) -> None:
    with pytest.raises(BadBody):
        read(data)
