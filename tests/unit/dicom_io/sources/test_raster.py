"""An encoded image as tasks: one decodes, the others wait for it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Patch, UInt8Array
from dicom_io.reading import PATCHES_AT_ONCE, ReadOptions, read_here
from dicom_io.sources.encoded import EncodedSource, GcsSource
from dicom_io.sources.session import ReadContext, ReadSession
from dicom_io.sources.shared_raster import RasterRegistry
from dicom_io.waiting import Cancellation
from dicom_io.web.credentials import BearerToken
from dicom_io.web.gcs import GcsStore, GcsUri
from serving.config.settings import load_settings
from serving.processes.assembly import read_context
from tests.support.tissue import encode, tissue

TO_SRGB = ReadOptions(icc_target=IccTarget.SRGB)
TISSUE = tissue(224, 224)
PATCHES = [Patch(7 * n, 5 * n, 224, 224) for n in range(2 * PATCHES_AT_ONCE + 3)]


@pytest.fixture(scope="module")
def context() -> Iterator[ReadContext]:
    context = read_context(load_settings())
    yield context
    context.decoders.close()


@pytest.fixture
def session(context: ReadContext) -> ReadSession:
    waits = Cancellation(time.monotonic() + 30)
    return ReadSession(context, waits, RasterRegistry({}), lambda _: contextlib.nullcontext())


def test_tasks_cover_the_patches_in_their_order(session: ReadSession) -> None:
    image = EncodedSource(lambda: encode(tissue())).open(ReadOptions(), session)
    found: dict[int, UInt8Array] = {}
    for task in image.read(PATCHES):
        task.wait()
        assert task.ready()
        assert len(task.indexes) <= PATCHES_AT_ONCE
        found |= dict(zip(task.indexes, task.pixels(), strict=True))
    assert list(found) == list(range(len(PATCHES)))
    for index, patch in enumerate(PATCHES):
        truth = tissue()[patch.y : patch.y + 224, patch.x : patch.x + 224]
        np.testing.assert_array_equal(found[index], truth)


def test_only_the_first_task_is_ready_until_it_has_decoded(session: ReadSession) -> None:
    image = EncodedSource(lambda: encode(tissue())).open(ReadOptions(), session)
    first, second, third = image.read(PATCHES)
    assert [task.ready() for task in (first, second, third)] == [True, False, False]
    decoding = threading.Thread(target=first.pixels)
    decoding.start()
    second.wait()
    assert third.ready()
    decoding.join()


def test_tasks_that_waited_for_an_image_that_is_damaged_fail_as_the_first_does(session: ReadSession) -> None:
    whole = encode(tissue())
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(100) + whole[middle + 100 :]
    image = EncodedSource(lambda: damaged).open(ReadOptions(), session)
    first, second, _ = image.read(PATCHES)
    for task in (first, second):
        task.wait()
        with pytest.raises(ImageError) as caught:
            task.pixels()
        assert caught.value.code is ImageCode.IMAGE_ERROR


def test_patches_are_read_in_one_call(session: ReadSession) -> None:
    image = EncodedSource(lambda: encode(tissue())).open(ReadOptions(image_dimensions=(256, 256)), session)
    (whole,) = read_here(image, [Patch(0, 0, 256, 256)])
    assert whole.shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (encode(TISSUE), ReadOptions()),
        (encode(TISSUE, "JPEG"), ReadOptions()),
        (
            encode(TISSUE, "JPEG", icc_profile=target_profile(IccTarget.ADOBERGB)),
            TO_SRGB,
        ),
        (encode(TISSUE[:, :, 0], "JPEG"), ReadOptions()),
        (encode(TISSUE, "TIFF"), ReadOptions()),
        (encode(tissue(300, 260), "JPEG"), ReadOptions(image_dimensions=(224, 224))),
    ],
    ids=["PNG", "JPEG", "with a profile", "gray", "in a helper", "resized"],
)
def test_a_patch_is_written_to_where_it_is_wanted_as_it_would_be_returned(
    session: ReadSession, image: bytes, options: ReadOptions
) -> None:
    whole = [Patch(0, 0, 224, 224)]
    (expected,) = read_here(EncodedSource(lambda: image).open(options, session), whole)
    place = np.full((224, 224, 3), 77, np.uint8)
    (task,) = EncodedSource(lambda: image).open(options, session).read(whole)
    task.write([place])
    np.testing.assert_array_equal(place, expected)
    # The same, cut out of a decoded image.
    (other, _) = read_here(EncodedSource(lambda: image).open(options, session), whole * 2)
    np.testing.assert_array_equal(place, other)


def test_an_object_that_instances_share_is_let_go_of_though_one_of_them_cannot_be_opened(
    context: ReadContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def fetch(_: GcsStore, uri: GcsUri, __: BearerToken | None, ___: Cancellation) -> bytes:
        fetched.append(str(uri))
        return encode(tissue())

    monkeypatch.setattr(GcsStore, "fetch", fetch)
    source = GcsSource(GcsUri("bucket", "slide.png"), None)
    rasters = RasterRegistry({source.shared_key: 2})
    waits = Cancellation(time.monotonic() + 30)
    session = ReadSession(context, waits, rasters, lambda _: contextlib.nullcontext())
    image = source.open(ReadOptions(), session)
    with pytest.raises(ImageError):
        source.open(ReadOptions(image_dimensions=(20_000, 20_000)), session)
    image.close()
    assert len(fetched) == 1
    source.open(ReadOptions(), session)
    assert len(fetched) == 2, "the first is not kept any more"
