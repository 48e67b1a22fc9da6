"""What tests of local slides share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

import pytest

from dicom_io.geometry import Patch
from dicom_io.reading import ReadOptions, read_here
from dicom_io.sources.session import ReadContext, ReadSession, Source
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation
from serving.config.settings import load_settings
from serving.processes.assembly import read_context
from tests.support.tissue import UInt8Array

Read = Callable[..., list[UInt8Array]]


@pytest.fixture(scope="module")
def context() -> Iterator[ReadContext]:
    made = read_context(load_settings({}))
    yield made
    made.decoders.close()


@pytest.fixture
def read(context: ReadContext) -> Read:
    """Return a function that reads patches of a source."""

    def function(
        source: Source, patches: Sequence[Patch], options: ReadOptions | None = None
    ) -> list[UInt8Array]:
        waits = Cancellation(time.monotonic() + 60)
        session = ReadSession(context, waits, RasterRegistry({}), lambda _: nullcontext())
        return read_here(source.open(options or ReadOptions(), session), patches)

    return function
