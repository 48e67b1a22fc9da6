"""Slides in local files through the whole pipeline: the vectors of the same slide in a store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.geometry import Patch
from dicom_io.local.opening import open_slide
from dicom_io.reading import ReadOptions
from dicom_io.sources.session import Source
from dicom_io.sources.slide_level import DicomWebSource
from dicom_io.waiting import Cancellation
from dicom_io.web.series_path import parse_series_path
from serving.pipeline.outcome import Embeddings, Outcome
from serving.pipeline.types import Instance
from serving.telemetry.request_record import StageTimes
from tests.support.app import App
from tests.support.local_slides import as_jpeg, pyramid_of, write_dicom, write_svs
from tests.support.models import TOLERANCE, probe
from tests.support.slides import CODINGS, Slide, pyramid, stained
from tests.support.store import Store

PATCHES = tuple(Patch(x, y, 224, 224) for x, y in ((0, 0), (251, 130), (776, 476), (33, 300)))


def embed(app: App, source: Source, patches: Sequence[Patch], options: ReadOptions | None = None) -> Outcome:
    waits = Cancellation(time.monotonic() + 60)
    item = Instance(source, tuple(patches), options or ReadOptions())
    (outcome,) = app.predictor.predict([item], waits, StageTimes()).outcomes
    return outcome


def both(
    app: App, folder: Path, slide: Slide, level: int, patches: Sequence[Patch], options: ReadOptions
) -> tuple[Outcome, Outcome]:
    """Return what a level gives read from files, and from a store."""
    with Store(slide) as store, open_slide(write_dicom(folder, slide), app.context) as local:
        path = parse_series_path(store.series_path(slide))
        remote = DicomWebSource(path, local.facts.sop_uids[level], None)
        return embed(app, local.source(level), patches, options), embed(app, remote, patches, options)


def assert_equal(found: tuple[Outcome, Outcome]) -> None:
    local, remote = found
    assert isinstance(local, Embeddings), local
    assert isinstance(remote, Embeddings), remote
    assert np.array_equal(local.vectors, remote.vectors)


@pytest.mark.parametrize("name", CODINGS)
def test_a_folder_gives_the_vectors_of_a_store_in_every_syntax(
    probe_app: App, tmp_path: Path, name: str
) -> None:
    slide = pyramid(name, [(1000, 700)])
    assert_equal(both(probe_app, tmp_path / "slide", slide, 0, PATCHES, ReadOptions()))


def test_a_concatenation_at_another_scale_in_another_colour_space_is_equal_too(
    probe_app: App, tmp_path: Path
) -> None:
    profile = target_profile(IccTarget.ADOBERGB)
    slide = Slide()
    slide.add_level(stained(1000, 700), CODINGS["JPEG"], parts=3, ICCProfile=profile)
    slide.add_level(stained(500, 350), CODINGS["JPEG"], ICCProfile=profile)
    with open_slide(write_dicom(tmp_path / "slide", slide), probe_app.context) as local:
        view = local.slide.at(14.0)
        assert local.facts.has_icc_profile
        assert (view.index, view.image_dimensions) == (0, (714, 500))
    options = ReadOptions(view.image_dimensions, IccTarget.SRGB)
    patches = [Patch(7, 5, 224, 224), Patch(233, 210, 224, 224), Patch(480, 270, 224, 224)]
    found = both(probe_app, tmp_path / "slide", slide, 0, patches, options)
    assert_equal(found)
    plain, _ = both(probe_app, tmp_path / "slide", slide, 0, patches, ReadOptions(view.image_dimensions))
    assert isinstance(found[0], Embeddings)
    assert isinstance(plain, Embeddings)
    assert not np.array_equal(found[0].vectors, plain.vectors)


def test_patches_that_leave_a_local_slide_are_black_there_or_an_error(probe_app: App, tmp_path: Path) -> None:
    (pixels,) = pyramid_of(600, 500, [1])
    path = write_svs(tmp_path / "slide.svs", [pixels])
    edge = Patch(500, 400, 224, 224)
    with open_slide(path, probe_app.context) as local:
        refused = embed(probe_app, local.source(0), [edge])
        found = embed(probe_app, local.source(0), [edge], ReadOptions(require_inside=False))
        inside = embed(probe_app, local.source(0), [Patch(376, 276, 224, 224)])
    assert getattr(refused, "code", None) == "PATCH_OUTSIDE_OF_IMAGE_DIMENSIONS_ERROR"
    assert isinstance(found, Embeddings)
    assert isinstance(inside, Embeddings)
    assert found.vectors.mean() < inside.vectors.mean() / 2


def test_the_pixels_of_an_svs_are_those_of_its_tiles(probe_app: App, tmp_path: Path) -> None:
    (pixels,) = pyramid_of(1000, 700, [1])
    path = write_svs(tmp_path / "slide.svs", [pixels])
    with open_slide(path, probe_app.context) as local:
        found = embed(probe_app, local.source(0), PATCHES)
    assert isinstance(found, Embeddings)
    truth = as_jpeg(pixels)
    expected = probe(np.stack([truth[p.y : p.bottom, p.x : p.right] for p in PATCHES]))
    np.testing.assert_allclose(found.vectors, expected, atol=TOLERANCE)
