"""What pages are looked at with."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.browser import Chromium, missing


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """The browser; skipped where there is none, unless REQUIRE_CHROMIUM is set."""
    if missing() and not os.environ.get("REQUIRE_CHROMIUM"):
        pytest.skip(missing())
    with Chromium() as found:
        yield found
