from __future__ import annotations

import pickle
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.errors import ImageCode, ImageError
from dicom_io.web.allowlist import StoreAllowList
from dicom_io.web.credentials import BearerToken, fingerprint
from dicom_io.web.series_path import parse_series_path
from dicom_io.web.urls import UrlError, parse_url, resolve_reference

GOOGLE = "https://healthcare.googleapis.com/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb"


@pytest.mark.parametrize(
    "prefix",
    [
        GOOGLE,
        "http://127.0.0.1:8042/dicom-web",
        "https://pacs.example.org:8443/dcm4chee-arc/aets/A/rs",
        "https://a.org",
    ],
)
def test_a_series_path_of_any_store_is_parsed(prefix: str) -> None:
    path = parse_series_path(f"{prefix}/studies/1.2.3/series/4.5.6")
    assert (path.study_uid, path.series_uid) == ("1.2.3", "4.5.6")
    assert str(path.store) == prefix
    assert str(path.instance("7.8")) == f"{prefix}/studies/1.2.3/series/4.5.6/instances/7.8"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store.org",
        "//store.org",
        "file:///etc",
        "HTTPS://store.org",
        "https://",
        "https:///x",
        "https://u:p@store.org",
        "https://store.org@evil.net",
        "https://store.org\\@evil.net",
        "https://store.org/a/../b",
        "https://store.org/./a",
        "https://store.org/a/..;/b",
        "https://store.org/.;x/a",
        "https://store.org/..;a=b",
        "https://store.org/a//b",
        "https://store.org/a%2fb",
        "https://store.org/%2e%2e/b",
        "https://store.org?x",
        "https://store.org#x",
        "https://store.org./x",
        "https://.store.org",
        "https://sto re.org",
        "https://store.org\n",
        "https://störe.org",
        "https://store.org:0",
        "https://store.org:99999",
        "https://store.org:",
        "https://store.org:x",
        "https://[::1",
    ],
)
def test_what_could_be_read_in_two_ways_is_no_url(url: str) -> None:
    with pytest.raises(UrlError):
        parse_url(url)


def test_loopback_is_known_by_name_and_address() -> None:
    for url in ("http://localhost:1", "http://127.0.0.1", "http://127.9.9.9", "http://[::1]:80"):
        assert parse_url(url).is_loopback
    for url in ("http://localhost.evil.net", "http://10.0.0.1", "http://[::2]", "http://127.0.0.1.evil.net"):
        assert not parse_url(url).is_loopback


def test_the_default_port_is_the_schemes() -> None:
    assert parse_url("https://a.org").origin == parse_url("https://a.org:443").origin
    assert parse_url("http://a.org").port == 80


ALLOWED = StoreAllowList(["https://store.org/v1/projects/p", "http://127.0.0.1:8042"])


@pytest.mark.parametrize(
    "url",
    [
        "https://store.org/v1/projects/p",
        "https://store.org:443/v1/projects/p/x/studies",
        "http://127.0.0.1:8042/any",
    ],
)
def test_whole_segments_below_an_entry_are_admitted(url: str) -> None:
    assert ALLOWED.admits(parse_url(url))


@pytest.mark.parametrize(
    "url",
    [
        "https://store.org.evil.net/v1/projects/p",
        "https://evilstore.org/v1/projects/p",
        "https://store.org/v1/projects/p-evil",
        "https://store.org/v1/projects",
        "https://store.org/v1/projects/P",
        "https://STORE.ORG/v1/projects/p",
        "http://store.org/v1/projects/p",
        "https://store.org:8443/v1/projects/p",
        "http://127.0.0.1:8043/x",
        "https://127.0.0.1:8042/x",
    ],
)
def test_nothing_that_looks_alike_is_admitted(url: str) -> None:
    assert not ALLOWED.admits(parse_url(url))


def test_without_a_list_everything_is_admitted_and_an_empty_list_admits_nothing() -> None:
    assert StoreAllowList(None).admits(parse_url("https://any.org"))
    assert not StoreAllowList([]).admits(parse_url("https://any.org"))


def test_an_entry_that_is_no_url_is_refused() -> None:
    with pytest.raises(ValueError, match="address"):
        StoreAllowList(["store.org"])


SERIES = parse_url("https://store.org/v1/projects/p/studies/1.2/series/3.4").child("")


@pytest.mark.parametrize(
    ("reference", "leads_to"),
    [
        ("bulk/5?a=b%2Fc&d", "/v1/projects/p/studies/1.2/series/3.4/bulk/5?a=b%2Fc&d"),
        ("/v1/projects/p/bulk%5B1%5D/x", "/v1/projects/p/bulk%5B1%5D/x"),
        ("https://store.org/v1/projects/p//bulk/x#part", "/v1/projects/p//bulk/x"),
        ("https://store.org:443/v1/projects/p/x%2Fy", "/v1/projects/p/x%2Fy"),
        ("../../../../../q/x", "/v1/projects/q/x"),
        ("//other.org/x?y", "https://other.org/x?y"),
    ],
)
def test_what_a_store_refers_to_may_have_a_query_and_encoded_or_empty_segments(
    reference: str, leads_to: str
) -> None:
    found = str(resolve_reference(SERIES, reference))
    assert found == (leads_to if leads_to.startswith("https") else f"https://store.org{leads_to}")


@pytest.mark.parametrize(
    "reference",
    [
        *(
            f"/v1/projects/p/{dots}/q"
            for dots in ("%2e%2e", "..%2f", "%252e%252e", "a%2F..%2Fb", "..;x", ".%2E;")
        ),
        *(f"/v1/projects/p/{dots}/q" for dots in ("..%5C..", "%25252525252e", "x%00", "..%3Ba")),
        *("/v1/projects/p\\x", "https://u@store.org/x", "ftp://store.org/x", "https://other.org/a%2fb"),
        *("https://other.org/a//b", "https://store.org./x", "https://store.org:0/", "/a b", "/ä"),
    ],
)
def test_what_a_store_refers_to_leads_nowhere_upwards_in_any_reading(reference: str) -> None:
    with pytest.raises(UrlError):
        resolve_reference(SERIES, reference)


def test_an_allow_list_holds_for_what_a_store_refers_to() -> None:
    for reference, admitted in (
        ("bulk/a%2Fb?x=1", True),
        ("https://store.org/v1/projects/p//x", True),
        ("https://store.org/v1%2Fprojects/p/x", False),
        ("https://store.org//v1/projects/p/x", False),
        ("../../../../../q/x", False),
        ("https://store.org/v1/projects/%70/x", False),
    ):
        assert ALLOWED.admits(resolve_reference(SERIES, reference)) is admitted, reference


@given(st.text(alphabet="./%2eEfF;\\5cC?#a", max_size=30))
def test_no_reference_within_an_allowed_folder_escapes_it(reference: str) -> None:
    base = parse_url("https://store.org/v1/projects/p")
    try:
        found = resolve_reference(base.child(""), "x/" + reference)
    except UrlError:
        return
    if ALLOWED.admits(found):
        path = str(found).partition("?")[0]
        for _ in range(5):
            pieces = [piece.partition(";")[0] for piece in path.replace("\\", "/").split("/")]
            assert ".." not in pieces
            path = unquote(path)


@given(st.text(max_size=60))
def test_any_text_is_a_url_in_parts_or_an_error(text: str) -> None:
    try:
        url = parse_url(text)
    except UrlError:
        return
    assert parse_url(str(url)) == url


@given(st.text(max_size=40), st.text(max_size=20))
def test_no_text_in_a_series_path_escapes_its_store(prefix: str, tail: str) -> None:
    try:
        path = parse_series_path(f"https://store.org/{prefix}/studies/1.2/series/{tail}")
    except ValueError as error:
        assert str(error).startswith("must be https://")
        return
    assert path.store.host == "store.org"
    assert ".." not in path.store.segments


def test_a_token_does_not_print_or_pickle() -> None:
    token = BearerToken("s3cr3t")
    assert token.authorization() == "Bearer s3cr3t"
    assert "s3cr3t" not in repr(token) + str(token) + f"{token}" + repr([token])
    assert not hasattr(token, "__dict__")
    with pytest.raises(TypeError):
        pickle.dumps(token)


def test_fingerprints_tell_tokens_apart_without_showing_them() -> None:
    assert fingerprint(BearerToken("a")) == fingerprint(BearerToken("a"))
    assert len({fingerprint(BearerToken("a")), fingerprint(BearerToken("b")), fingerprint(None)}) == 3
    assert b"s3cr3t" not in fingerprint(BearerToken("s3cr3t"))


@pytest.mark.parametrize("secret", ["", "a b", "a\r\nX-Evil: 1", "ä", "x" * 20_000, "\x00"])
def test_a_token_that_no_header_can_hold_is_refused(secret: str) -> None:
    with pytest.raises(ImageError) as caught:
        BearerToken(secret)
    assert caught.value.code is ImageCode.INVALID_CREDENTIALS_ERROR
