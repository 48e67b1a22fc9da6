from __future__ import annotations

import base64
import gzip
import json

import pytest

from serving.errors import Code, ServiceError
from serving.front.body import Body
from serving.http.http_body import unwrapped

LIMIT = 4 << 20
INNER = json.dumps({"instances": [{"raw_image_bytes": "fb/+"}]}).encode()


def read(data: bytes, piece: int, *, gzipped: bool) -> bytes:
    body = Body(LIMIT, gzip=gzipped)
    for start in range(0, len(data), piece):
        body.add(data[start : start + piece])
        assert body.size <= LIMIT + 1
    return bytes(body.end())


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_gzip_unfolds_the_same_however_it_comes(piece: int) -> None:
    data = bytes(range(256)) * 40
    assert read(gzip.compress(data), piece, gzipped=True) == data
    assert read(gzip.compress(data[:99]) + gzip.compress(data[99:]), piece, gzipped=True) == data
    assert read(data, piece, gzipped=False) == data


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (gzip.compress(b" " * (LIMIT + 1), mtime=0), Code.REQUEST_TOO_LARGE_ERROR),
        (gzip.compress(b" " * (2 << 20), mtime=0), Code.REQUEST_TOO_LARGE_ERROR),  # a bomb, if a small one
        (gzip.compress(b"abc", mtime=0)[:-1], Code.INVALID_REQUEST_FIELD_ERROR),
        (gzip.compress(b"abc", mtime=0) + b"more", Code.INVALID_REQUEST_FIELD_ERROR),
        (b"", Code.INVALID_REQUEST_FIELD_ERROR),
        (b"{}", Code.INVALID_REQUEST_FIELD_ERROR),
    ],
)
def test_gzip_that_is_none_or_unfolds_into_too_much_is_refused(data: bytes, code: Code) -> None:
    with pytest.raises(ServiceError) as caught:
        read(data, 100, gzipped=True)
    assert caught.value.code is code


@pytest.mark.parametrize("name", ["httpBody", "http_body"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padding", [b"", b"="])
def test_an_http_body_is_unwrapped(name: str, encode: object, padding: bytes) -> None:
    assert callable(encode)
    data = encode(INNER).rstrip(b"=" if not padding else b"").decode()
    wrapped = {name: {"contentType": "application/json", "data": data}}
    assert unwrapped(json.dumps(wrapped).encode()) == INNER


@pytest.mark.parametrize(
    "body", [INNER, b"", b"{", b"[]", b'{"instances": [], "httpBody": {"data": "e30="}}']
)
def test_what_wraps_nothing_is_left_as_it_is(body: bytes) -> None:
    assert unwrapped(body) is None


@pytest.mark.parametrize("wrapped", [None, {}, [], {"data": 7}, {"data": "*"}, {"data": "aaaaa"}])
def test_a_wrapping_without_its_data_is_refused_by_name(wrapped: object) -> None:
    with pytest.raises(ServiceError, match="httpBody"):
        unwrapped(json.dumps({"httpBody": wrapped}).encode())
