from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.store.deidentify.deidentifier import Deidentified, Deidentifier
from serving.store.deidentify.key import Key

KEY = Key(b"a key of 32 bytes, for the tests")

Clean = Callable[[bytes], tuple[bytes, Deidentified]]


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """Return what de-identifies the bytes of a file."""
    folder = tmp_path_factory.mktemp("deidentify")

    def write(data: bytes) -> tuple[bytes, Deidentified]:
        return cleaned(folder / "source.dcm", data)

    return write


def cleaned(path: Path, data: bytes) -> tuple[bytes, Deidentified]:
    path.write_bytes(data)
    target = io.BytesIO()
    found = Deidentifier(KEY, None).write(path, target)
    return target.getvalue(), found
