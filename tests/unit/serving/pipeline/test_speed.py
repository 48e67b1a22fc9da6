from __future__ import annotations

import pytest

from dicom_io.geometry import Patch
from dicom_io.reading import ReadOptions
from dicom_io.sources.encoded import EncodedSource, GcsSource
from dicom_io.sources.session import Source
from dicom_io.web.gcs import GcsUri
from serving.errors import Fault
from serving.pipeline.speed import LATELY_S, REQUESTS, Speed
from serving.pipeline.types import Instance

PICTURE = EncodedSource(lambda: b"")
OBJECT = GcsSource(GcsUri("bucket", "name"), None)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def of(source: Source) -> Instance:
    return Instance(source, (Patch(0, 0, 224, 224),), ReadOptions())


def test_nothing_embedded_is_no_pace() -> None:
    speed = Speed()
    speed.add([of(PICTURE), Fault("x", "y")], 0, 5)
    assert speed.pace(PICTURE) is None


def test_a_pace_is_of_its_own_kind_of_source_or_of_all() -> None:
    speed = Speed()
    speed.add([of(PICTURE)], 100, 1)
    speed.add([of(PICTURE), Fault("x", "y")], 100, 3)
    speed.add([of(PICTURE), of(OBJECT)], 100, 1)
    own = speed.pace(PICTURE)
    assert own is not None
    assert (own.patches_per_second, own.requests, own.is_alike) == (50, 2, True)
    other = speed.pace(OBJECT)
    assert other is not None
    assert (other.patches_per_second, other.requests, other.is_alike) == (60, 3, False)


def test_requests_of_long_ago_and_all_but_the_last_ones_are_forgotten() -> None:
    clock = Clock()
    speed = Speed(clock)
    for _ in range(3 * REQUESTS):
        speed.add([of(PICTURE)], 10, 1)
    speed.add([of(PICTURE)], 100, 1)
    found = speed.pace(PICTURE)
    assert found is not None
    assert found.requests == REQUESTS
    assert found.patches_per_second == pytest.approx((10 * (REQUESTS - 1) + 100) / REQUESTS)
    clock.now = LATELY_S + 1
    assert speed.pace(PICTURE) is None
