"""A store's requests in flight, held to a number."""

from __future__ import annotations

import time

import pytest

from dicom_io.errors import ImageError
from dicom_io.web.at_once import AtOnce


def test_a_request_too_many_waits_until_its_deadline_and_other_origins_do_not() -> None:
    limit = AtOnce(1)
    with limit.at("a", time.monotonic() + 60):
        with pytest.raises(ImageError, match="is busy with other requests"), limit.at("a", time.monotonic()):
            pass
        with limit.at("b", time.monotonic()):
            pass
    with limit.at("a", time.monotonic()):
        pass


def test_without_a_number_nothing_waits() -> None:
    limit = AtOnce()
    with limit.at("a", 0.0), limit.at("a", 0.0):
        pass
