"""Slides of OpenSlide's formats, held to OpenSlide's own pixels and to what was written."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.colour.profiles import IccTarget, target_profile
from dicom_io.colour.transforms import IccTransform
from dicom_io.decoding.slide_files import SlideHandles
from dicom_io.decoding.slide_jobs import SlideFault, SlideFile
from dicom_io.errors import ImageCode, ImageError
from dicom_io.geometry import Patch, Spacing
from dicom_io.local import openslide as openslide_files
from dicom_io.local.file_level import FileLevel
from dicom_io.local.opening import open_slide
from dicom_io.local.slide import UnreadableSlide
from dicom_io.reading import ReadOptions
from dicom_io.resampling import resize
from dicom_io.slides.slide import NoResolution
from dicom_io.slides.tissue import overview_of
from dicom_io.sources.session import ReadContext
from tests.support.decoders import helpers
from tests.support.local_slides import as_jpeg, jpeg, pyramid_of, tiles_of, write_svs, write_tiles
from tests.support.slides import stained
from tests.support.tissue import UInt8Array
from tests.unit.dicom_io.local.conftest import Read

PATCHES = [
    Patch(0, 0, 224, 224),
    Patch(251, 130, 300, 260),
    Patch(1200, 850, 224, 224),
    Patch(1492, 1092, 8, 8),
]


def cut(pixels: UInt8Array, patch: Patch) -> UInt8Array:
    return pixels[patch.y : patch.bottom, patch.x : patch.right]


def write_tiff(path: Path, pixels: UInt8Array) -> Path:
    """Write a generic tiled TIFF of one level that is not JPEG."""
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", compression="zlib")
    return path


@pytest.mark.parametrize("with_tables", [True, False])
def test_an_svs_gives_openslides_pixels_at_every_level(
    tmp_path: Path, context: ReadContext, read: Read, with_tables: bool
) -> None:
    path = write_svs(tmp_path / "slide.svs", pyramid_of(1500, 1100, [1, 4]), with_tables=with_tables)
    with open_slide(path, context) as local, openslide.OpenSlide(path) as plain:
        assert [(level.width, level.height) for level in local.slide.levels] == [(1500, 1100), (375, 275)]
        for index, patches in ((0, PATCHES), (1, [Patch(0, 0, 375, 275)])):
            for patch, found in zip(patches, read(local.source(index), patches), strict=True):
                times = 4**index
                region = plain.read_region(
                    (patch.x * times, patch.y * times), index, (patch.width, patch.height)
                )
                np.testing.assert_array_equal(found, np.asarray(region.convert("RGB")))


def test_what_a_file_says_of_itself_is_told(tmp_path: Path, context: ReadContext) -> None:
    profile = target_profile(IccTarget.ADOBERGB)
    path = write_svs(tmp_path / "slide.svs", pyramid_of(1500, 1100), mpp=0.4990, icc=profile)
    with open_slide(path, context) as local:
        facts = local.facts
        assert (facts.format, facts.spacing, facts.objective_power) == ("aperio", Spacing(0.499, 0.499), 20)
        assert facts.has_icc_profile
        assert local.slide.levels[1].spacing == Spacing(1.996, 1.996)
    renamed = path.rename(tmp_path / "other.svs")
    with open_slide(renamed, context) as local:
        assert local.facts.digest == facts.digest
    with open_slide(write_svs(tmp_path / "b.svs", pyramid_of(1400, 1100)), context) as local:
        assert local.facts.digest != facts.digest
        assert not local.facts.has_icc_profile


@pytest.mark.parametrize("compression", ["zlib", "lzw", None])
def test_tiles_that_are_not_jpeg_are_read_by_openslide(
    tmp_path: Path, context: ReadContext, read: Read, compression: str | None
) -> None:
    pixels = stained(1500, 1100)
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, pixels, tile=(256, 240), photometric="rgb", compression=compression)
    with open_slide(path, context) as local:
        assert local.facts.format == "generic-tiff"
        for patch, found in zip(PATCHES, read(local.source(0), PATCHES), strict=True):
            np.testing.assert_array_equal(found, cut(pixels, patch))


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_jpeg_tiles_of_either_colour_coding_are_read_as_openslide_does(
    tmp_path: Path, context: ReadContext, read: Read, photometric: str
) -> None:
    path = tmp_path / "slide.tif"
    pixels = stained(700, 500)
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric=photometric,
        compression="jpeg",
        compressionargs={"level": 90},
    )
    with open_slide(path, context) as local, openslide.OpenSlide(path) as plain:
        (found,) = read(local.source(0), [Patch(0, 0, 700, 500)])
        expected = np.asarray(plain.read_region((0, 0), 0, (700, 500)).convert("RGB"))
        np.testing.assert_array_equal(found, expected)


def test_a_slide_is_resized_and_transformed_as_levels_of_a_store_are(
    tmp_path: Path, context: ReadContext, read: Read
) -> None:
    profile = target_profile(IccTarget.ADOBERGB)
    path = write_svs(tmp_path / "slide.svs", [stained(1500, 1100)], icc=profile)
    truth = as_jpeg(stained(1500, 1100))
    with open_slide(path, context) as local:
        view = local.slide.at(1.0)
        assert view.image_dimensions == (750, 550)
        options = ReadOptions(view.image_dimensions, IccTarget.SRGB)
        (found,) = read(local.source(view.index), [Patch(10, 20, 224, 224)], options)
    transformed = IccTransform(profile, IccTarget.SRGB, 3)(np.ascontiguousarray(truth[40:488, 20:468]))
    np.testing.assert_array_equal(found, resize(transformed, 224, 224))


@pytest.mark.parametrize(
    ("mpp", "why"),
    [
        (None, "does not say how large its pixels are"),
        (352.8, r"says 352\.8 µm a pixel, and only 0\.05 to 20"),
        (0.001, r"says 0\.001 µm"),
        ("0", "does not say"),
        ("nan", "does not say"),
    ],
)
def test_a_resolution_that_is_missing_or_not_believed_must_be_given(
    tmp_path: Path, context: ReadContext, mpp: float | str | None, why: str
) -> None:
    path = write_svs(tmp_path / "slide.svs", pyramid_of(700, 500), mpp=mpp)
    with open_slide(path, context) as local:
        assert local.slide.spacing is None
        with pytest.raises(NoResolution, match=why):
            local.slide.at(0.5)
        assert local.slide.view(0).image_dimensions is None
    with open_slide(path, context, slide_mpp=0.25) as local:
        assert local.slide.at(1.0).index == 1
        assert local.facts.spacing == (Spacing(mpp, mpp) if isinstance(mpp, float) else None)


def test_a_resolution_that_is_given_counts_more_than_the_files(tmp_path: Path, context: ReadContext) -> None:
    with open_slide(write_svs(tmp_path / "a.svs", pyramid_of(700, 500)), context, slide_mpp=50.0) as local:
        assert local.slide.spacing == Spacing(50.0, 50.0)
        assert local.facts.spacing == Spacing(0.5, 0.5)


def test_a_level_that_misses_tiles_is_left_to_openslide(
    tmp_path: Path, context: ReadContext, read: Read
) -> None:
    path = tmp_path / "slide.tif"
    pixels = stained(512, 512)
    with tifffile.TiffWriter(path) as tiff:
        encoded = [jpeg(tile) for tile in tiles_of(pixels)]
        write_tiles(tiff, pixels.shape, [*encoded[:3], b""], None)
    with open_slide(path, context) as local:
        (found,) = read(local.source(0), [Patch(0, 0, 256, 256)])
        np.testing.assert_array_equal(found, as_jpeg(pixels)[:256, :256])


def test_tiles_that_are_far_too_large_are_left_to_openslide(
    tmp_path: Path, context: ReadContext, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_svs(tmp_path / "slide.svs", [stained(600, 500)])
    monkeypatch.setattr(openslide_files, "_MOST_SIDE", 255)
    with open_slide(path, context) as local:
        (level,) = local.slide.levels
        assert isinstance(level, FileLevel)
        assert level.syntax == ExplicitVRLittleEndian
        (found,) = read(local.source(0), [Patch(0, 0, 600, 500)])
    np.testing.assert_array_equal(found, as_jpeg(stained(600, 500)))


def test_many_threads_read_one_slide_rightly(tmp_path: Path, context: ReadContext, read: Read) -> None:
    pixels = stained(1500, 1100)
    path = write_tiff(tmp_path / "slide.tif", pixels)
    patches = [Patch(x, y, 224, 224) for x in range(0, 1200, 97) for y in range(0, 800, 101)]
    with open_slide(path, context) as local, ThreadPoolExecutor(8) as pool:
        for patch, found in zip(
            patches, pool.map(lambda p: read(local.source(0), [p])[0], patches), strict=True
        ):
            np.testing.assert_array_equal(found, cut(pixels, patch))


@pytest.mark.parametrize("compression", ["zlib", "jpeg"])
def test_a_damaged_tile_fails_its_own_patches_alone(
    tmp_path: Path, context: ReadContext, read: Read, compression: str
) -> None:
    path = tmp_path / "slide.tif"
    pixels = stained(2048, 1024)
    tifffile.imwrite(path, pixels, tile=(512, 512), photometric="rgb", compression=compression)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        offset, size = page.dataoffsets[0], page.databytecounts[0]
    with path.open("r+b") as raw:
        raw.seek(offset + size // 3)
        raw.write(b"\xff\xd9" * 100)
    whole, hurt = Patch(1600, 600, 224, 224), Patch(0, 0, 512, 512)
    with open_slide(path, context) as local:
        before = read(local.source(0), [whole])
        for _ in range(2):
            with pytest.raises(ImageError, match=r"tile 0 of row [01] of level 0") as caught:
                read(local.source(0), [hurt])
            assert caught.value.code is ImageCode.IMAGE_ERROR
        np.testing.assert_array_equal(read(local.source(0), [whole]), before)
        with pytest.raises(ImageError, match=r"tile 0 of row 0 of level 0"):
            read(local.source(0), [Patch(0, 0, 2048, 1024)])


def test_pixels_of_one_block_stay_as_they_are_when_the_next_is_read(
    tmp_path: Path, context: ReadContext
) -> None:
    path = write_tiff(tmp_path / "slide.tif", stained(1500, 1100))
    file = SlideFile(str(path), "1", context.decoders.slide, context.decoders.regions)
    with openslide.OpenSlide(path) as plain:
        blocks = [[(x, y) for x in range(0, 1500, 250)] for y in (0, 300, 600, 900)]
        found = [read for b in blocks for read in zip(b, file.regions(0, b, 250, 200), strict=True)]
        for place, pixels in found:
            region = np.asarray(plain.read_region(place, 0, (250, 200)).convert("RGB"))
            np.testing.assert_array_equal(pixels, region)


def test_a_file_in_the_place_of_a_slide_says_so_for_regions_too(tmp_path: Path, context: ReadContext) -> None:
    (tmp_path / "slide.tif").write_bytes(b"no slide")
    file = SlideFile(str(tmp_path / "slide.tif"), "1", context.decoders.slide, context.decoders.regions)
    with pytest.raises(SlideFault):
        file.regions(0, [(0, 0)], 10, 10)


def test_a_file_that_is_replaced_is_another_slide(tmp_path: Path, context: ReadContext, read: Read) -> None:
    path = tmp_path / "slide.tif"
    for pixels in (stained(600, 500), 255 - stained(600, 500)):
        write_tiff(path.with_suffix(".new"), pixels)
        path.with_suffix(".new").replace(path)
        with open_slide(path, context) as local:
            (found,) = read(local.source(0), [Patch(0, 0, 600, 500)])
        np.testing.assert_array_equal(found, pixels)


def test_a_closed_slide_is_not_read_any_more(tmp_path: Path, context: ReadContext, read: Read) -> None:
    local = open_slide(write_svs(tmp_path / "slide.svs", [stained(600, 500)]), context)
    local.close()
    with pytest.raises(ImageError, match="has been closed"):
        read(local.source(0), [Patch(0, 0, 224, 224)])


def test_what_no_scanner_has_seen_shows_the_slides_background(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "slide.tif", stained(300, 300))
    read = np.empty((2, 200, 200, 3), np.uint8)
    SlideHandles().regions(str(path), "", 0, [(200, 200), (300, 300)], read)
    found, outside = read
    assert (outside == 255).all()
    np.testing.assert_array_equal(found[:100, :100], stained(300, 300)[200:, 200:])
    assert (found[100:] == 255).all()
    assert (found[:, 100:] == 255).all()


def test_a_slide_of_one_large_level_is_seen_whole_in_blocks(tmp_path: Path, context: ReadContext) -> None:
    pixels = np.repeat(np.repeat(stained(1024, 1024), 6, axis=0), 6, axis=1)[:5000]
    path = write_tiff(tmp_path / "slide.tif", pixels)
    with open_slide(path, context) as local:
        found = local.overview()
    expected = overview_of(pixels)
    assert found.shape == expected.shape == (1667, 2048, 3)
    assert np.abs(found.astype(int) - expected).mean() < 2


def test_a_level_that_is_not_there_is_an_index_error(tmp_path: Path, context: ReadContext) -> None:
    with open_slide(write_tiff(tmp_path / "a.tif", stained(300, 300)), context) as local:
        for index in (-1, 1):
            with pytest.raises(IndexError):
                local.source(index)


def test_a_file_that_is_not_there_is_named(tmp_path: Path, context: ReadContext) -> None:
    with pytest.raises(UnreadableSlide, match=r"none\.svs cannot be read: No such file"):
        open_slide(tmp_path / "none.svs", context)
    with pytest.raises(UnreadableSlide, match="neither a file nor a folder"):
        open_slide(Path("/dev/null"), context)


@pytest.mark.parametrize("is_jpeg", [True, False])
@pytest.mark.parametrize("gone", [True, False])
def test_a_file_that_is_lost_while_it_is_read_is_no_fault_of_the_image(
    tmp_path: Path, context: ReadContext, read: Read, is_jpeg: bool, gone: bool
) -> None:
    path = tmp_path / "slide.tif"
    if is_jpeg:
        write_svs(path, pyramid_of(1500, 1100))
    else:
        write_tiff(path, stained(1500, 1100))
    with open_slide(path, context) as local:
        os.truncate(path, 2000)
        if gone and not is_jpeg:  # what is open here stays readable though its name is gone
            path.unlink()
        with pytest.raises(ImageError, match=r"The slide's file (cannot be read|has b)") as caught:
            read(local.source(0), [Patch(0, 0, 224, 224)])
        assert caught.value.code is ImageCode.INTERNAL_ERROR


def test_a_helper_that_dies_does_not_end_the_slide(tmp_path: Path, context: ReadContext, read: Read) -> None:
    pixels = stained(600, 500)
    with open_slide(write_tiff(tmp_path / "slide.tif", pixels), context) as local:
        assert helpers()
        for helper in helpers():
            helper.kill()
            helper.wait(10)
        (found,) = read(local.source(0), [Patch(100, 100, 224, 224)])
    np.testing.assert_array_equal(found, pixels[100:324, 100:324])


def test_without_openslide_a_slide_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "openslide.py").write_text("raise ModuleNotFoundError('openslide')")
    path = write_svs(tmp_path / "slide.svs", [stained(300, 300)])
    code = (
        "import sys; from pathlib import Path; from serving.config.settings import load_settings\n"
        "from serving.processes.assembly import read_context; from dicom_io.local.opening import open_slide\n"
        "context = read_context(load_settings({}))\n"
        "try:\n    open_slide(Path(sys.argv[1]), context)\n"
        "except Exception as error:\n    print(error)\n"
        "finally:\n    context.decoders.close()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "OpenSlide is not installed; pip install pathserve[slides]" in run.stdout
