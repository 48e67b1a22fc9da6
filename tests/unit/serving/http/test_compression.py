from __future__ import annotations

import gzip

import imagecodecs
import pytest
from flask import Response
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from serving.errors import Code, ServiceError
from serving.http.compression import SMALLEST, Coding, Kind, accepted, compress

LARGE = SMALLEST * 4


def coding(
    header: str, kind: Kind = Kind.NUMBERS, size: int = LARGE, *, offers: bool = True
) -> Coding | None:
    return accepted(parse_accept_header(header, Accept), offers=offers).of(kind, size)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("gzip, deflate", Coding.GZIP),
        ("gzip, deflate, br, zstd", Coding.ZSTD),
        ("GZIP", Coding.GZIP),
        ("zstd;q=0.2, gzip;q=0.9", Coding.GZIP),
        ("gzip;q=0, zstd", Coding.ZSTD),
        ("gzip;q=0", None),
        ("br, deflate", None),
        ("*", Coding.ZSTD),
        ("*, zstd;q=0", Coding.GZIP),
        ("identity", None),
        ("identity, *;q=0", None),
        ("gzip;q=0.5, identity;q=0.6", None),
        ("gzip;q=0.6, identity;q=0.5", Coding.GZIP),
        ("gzip;q=many", None),
        (",;,=;q", None),
    ],
)
def test_a_client_gets_what_it_likes_best(header: str, expected: Coding | None) -> None:
    assert coding(header) is expected


def test_what_is_small_or_hardly_shrinks_stays_as_it_is() -> None:
    assert coding("gzip", size=SMALLEST) is Coding.GZIP
    assert coding("gzip", size=SMALLEST - 1) is None
    assert coding("gzip", Kind.BINARY) is None
    assert coding("gzip, zstd", Kind.BINARY) is Coding.ZSTD


@pytest.mark.parametrize("header", ["gzip, identity;q=0", "gzip, *;q=0", "*;q=0, gzip;q=0.1"])
def test_a_client_that_refuses_an_answer_as_it_is_gets_it_compressed_at_any_rate(header: str) -> None:
    assert coding(header, Kind.BINARY, 10, offers=False) is Coding.GZIP


def test_who_is_offered_nothing_gets_the_answer_as_it_is() -> None:
    assert coding("gzip, zstd", offers=False) is None


@pytest.mark.parametrize("header", ["identity;q=0", "*;q=0", "br, identity;q=0", "IDENTITY;q=0"])
def test_who_refuses_all_that_there_is_is_told_what_there_is(header: str) -> None:
    with pytest.raises(ServiceError, match="zstd, gzip or identity") as caught:
        coding(header)
    assert caught.value.code is Code.NOT_ACCEPTABLE_ERROR


@pytest.mark.parametrize(
    ("how", "back"), [(Coding.GZIP, gzip.decompress), (Coding.ZSTD, imagecodecs.zstd_decode)]
)
def test_a_body_is_replaced_with_its_length(how: Coding, back: object) -> None:
    body = b"0.31880438, -1.0683633, " * 4000
    response = Response(body)
    compress(response, how)
    assert callable(back)
    assert back(response.get_data()) == body
    assert response.headers["Content-Encoding"] == how
    assert int(response.headers["Content-Length"]) == len(response.get_data()) < len(body)
