from __future__ import annotations

import pytest

from serving.errors import MAX_DESCRIPTION_LENGTH, TABLE, Code, ServiceError, unavailable


def test_every_code_has_a_row() -> None:
    assert set(TABLE) == set(Code)


def test_every_code_can_reach_a_client() -> None:
    assert all(row.in_instance or row.status is not None for row in TABLE.values())


def test_a_description_is_printable_and_short() -> None:
    error = ServiceError(Code.IMAGE_ERROR, "a\x00b\r\nc\ud800d" + "x" * 5000)
    assert error.description.startswith("a b c d")
    assert len(error.description) == MAX_DESCRIPTION_LENGTH
    error.description.encode("utf-8")


def test_an_error_as_json_is_code_and_description() -> None:
    assert ServiceError(Code.HTTP_ERROR, "why").fault.as_json() == {
        "code": "HTTP_ERROR",
        "description": "why",
    }


def test_unavailable_says_when_to_come_back() -> None:
    assert unavailable("later", retry_after_s=7).retry_after_s == 7
    with pytest.raises(ServiceError, match="SERVICE_UNAVAILABLE_ERROR"):
        raise unavailable("later")
