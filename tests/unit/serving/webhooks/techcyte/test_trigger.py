"""What Techcyte posts, read: whatever its spelling, and without letting a secret out."""

from __future__ import annotations

import base64
import pickle

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretBytes

from dicom_io.web.urls import UrlError
from serving.errors import ServiceError
from serving.webhooks.techcyte.tokens import usable_token
from serving.webhooks.techcyte.trigger import AnalysisName, PresignedUrl, Trigger, parse_trigger, task_number
from tests.support.techcyte import jwt

LINK = "https://bucket.s3.example/files_uuid/1414532c.8061860?X-Amz-Signature=planted%2Fsignature&X-Amz-Expires=9"


def body(**changed: object) -> bytes:
    fields = {"task_id": 185714, "scans": {"8823846": LINK}, "jwt_token": jwt(), "case_id": "aHVtYW4="}
    return orjson.dumps({n: v for n, v in (fields | changed).items() if v is not ...})


@given(st.integers(1, 10**17), st.sampled_from(["task", "Task", "humanTask", "t"]), st.booleans())
def test_a_task_has_one_number_however_it_is_spelled(number: int, kind: str, url_safe: bool) -> None:
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    key = encode(f"{kind}:{number}".encode()).decode()
    spelled: list[object] = [number, str(number), f"0{number}", key, key.rstrip("=")]
    assert {task_number(one) for one in spelled} == {str(number)}


@given(st.one_of(st.text(), st.floats(), st.none(), st.booleans(), st.lists(st.integers()), st.binary()))
def test_anything_else_is_no_task_and_is_said_without_quoting_it(value: object) -> None:
    try:
        assert task_number(value).isdigit()
    except ServiceError as error:
        assert "task_id" in error.description
        assert len(error.description) < 100


@pytest.mark.parametrize("token", [jwt(), None])
def test_a_job_is_given_what_was_posted(token: str | None) -> None:
    trigger = parse_trigger(body(jwt_token=token), AnalysisName.QC)
    again = Trigger.of_job(trigger.payload(), trigger.secret())
    assert again.scans == trigger.scans
    assert (again.task_id, again.run_marker, again.case_id) == ("185714", trigger.run_marker, "aHVtYW4=")
    assert (None if again.token is None else again.token.reveal()) == token


def test_what_is_stored_in_the_clear_and_what_prints_holds_no_secret() -> None:
    token = jwt()
    trigger = parse_trigger(body(jwt_token=token), AnalysisName.QC)
    seen = repr(trigger) + str(trigger.scans) + trigger.payload().decode() + repr(trigger.secret())
    for secret in (token, "planted", "files_uuid", "X-Amz"):
        assert secret not in seen
    assert isinstance(trigger.secret(), SecretBytes)
    with pytest.raises(TypeError):
        pickle.dumps(trigger.scans[0].urls[0].url)


def test_each_run_has_a_mark_of_its_own() -> None:
    assert len({parse_trigger(body(), AnalysisName.QC).run_marker for _ in range(5)}) == 5


def test_a_link_is_kept_as_it_is_spelled_and_files_get_plain_names() -> None:
    files = [LINK, "https://b.example/Jane%20Doe.SVS?x=1", "https://b.example/a.dcm", "https://b.example/"]
    trigger = parse_trigger(body(scan_urls={"8823846": files, "1": [LINK]}), AnalysisName.QC)
    scan, other = trigger.scans
    assert [file.url.reveal() for file in scan.urls] == files
    assert [file.file_name for file in scan.urls] == ["0001", "0002.svs", "0003.dcm", "0004"]
    assert (scan.name, other.name) == ("scan-1", "scan-2")


@pytest.mark.parametrize(
    "link",
    [
        "", "bucket.example/a", "file:///etc/passwd", "ftp://b.example/a", "https:/b.example/a",
        "https://", "https://user@b.example/a", "https://b.example:0/a", "https://b.example:99999/a",
        "https://b.example/a#part", "https://b.example/a b", "https://b.example/\ta", "https://b.example\\a",
        "https://b..example/a", "https://bücket.example/a", "HTTPS://b.example/a", "https://[::1/a",
        "https://b.example/" + "a" * 9000,
    ],
)  # fmt: skip
def test_what_two_parsers_could_read_differently_is_no_link(link: str) -> None:
    with pytest.raises(UrlError):
        PresignedUrl(link)


@pytest.mark.parametrize(
    "token",
    [None, "", 7, ["a"], "two words", "line\nbreak", "ü", "a" * 20_000, jwt(expires_in_s=-600)],
)
def test_a_token_that_cannot_be_sent_or_has_expired_is_none(token: object) -> None:
    assert usable_token(token) is None


def test_any_other_token_is_tried_also_where_clocks_differ_a_little() -> None:
    # Made here: those that tests are collected with have aged when they are run.
    for token in (jwt(), jwt(expires_in_s=-60), "opaque", "a.b.c", "a.b", "..", "a.e30.c"):
        found = usable_token(token)
        assert found is not None
        assert found.reveal() == token
