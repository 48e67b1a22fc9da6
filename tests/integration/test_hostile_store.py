"""A DICOMweb store that floods a worker."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.benchmarks.load import memory_megabytes
from tests.support.asking import ask, code_of
from tests.support.endless import Endless
from tests.support.service import Service
from tests.support.slides import pyramid
from tests.support.store import Store

JSON = {"Content-Type": "application/dicom+json"}


@pytest.fixture
def flood() -> Iterator[Endless]:
    store = Endless(0.0, b" " * 65_536)
    yield store
    store.end()


def test_an_answer_without_end_is_cut_off(probe_service: Service, flood: Endless) -> None:
    before = sum(memory_megabytes(process) for process in probe_service.workers())
    started = time.monotonic()
    slide = pyramid("JPEG", [(500, 400)])
    with Store(slide) as store:
        for _ in range(3):
            assert code_of(probe_service, ask(store, slide, ["1.2.3"], path=flood.path)) == "HTTP_ERROR"
    assert time.monotonic() - started < 60
    assert sum(memory_megabytes(process) for process in probe_service.workers()) < before + 250
