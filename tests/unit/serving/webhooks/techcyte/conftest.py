"""A stand-in for Techcyte, trusted by this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificate import self_signed
from tests.support.techcyte import Techcyte


@pytest.fixture(scope="session")
def techcyte_tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def techcyte(techcyte_tls: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Techcyte]:
    """The stand-in; this process trusts it for the test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(techcyte_tls[0]))
    with Techcyte(techcyte_tls) as server:
        yield server
