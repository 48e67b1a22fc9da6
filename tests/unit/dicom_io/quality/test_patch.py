"""Measures of patches that were planted, held to an independent way to compute them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from skimage.color import rgb2hsv
from skimage.measure import blur_effect

from dicom_io.quality.measures import MEANINGS, Measure
from dicom_io.quality.patch import measure
from tests.support.slides import stained
from tests.support.tissue import UInt8Array, tissue

SIDE = 224
INKS = [(20, 60, 180), (40, 80, 200), (0, 120, 60), (10, 160, 90), (15, 15, 15), (40, 40, 45)]


def plain(*colour: int) -> UInt8Array:
    return np.full((SIDE, SIDE, 3), colour, np.uint8)


def cut(pixels: UInt8Array, x: int = 300, y: int = 200) -> UInt8Array:
    return np.ascontiguousarray(pixels[y : y + SIDE, x : x + SIDE])


def half(left: UInt8Array, right: UInt8Array) -> UInt8Array:
    return np.concatenate([left[:, : SIDE // 2], right[:, SIDE // 2 :]], axis=1)


def found(pixels: UInt8Array) -> dict[str, float]:
    (row,) = measure([pixels])
    return dict(zip(map(str, Measure), map(float, row), strict=True))


def independently(pixels: UInt8Array) -> dict[str, float]:
    """Return the measures as docs/trust.md defines them, by NumPy and scikit-image."""
    middle = pixels.reshape(28, 8, 28, 8, 3)[:, 3:5, :, 3:5].astype(np.float64)
    cells = np.floor(middle.mean(axis=(1, 3)) + 0.5)
    hsv = rgb2hsv(cells / 255)
    lightness = cells @ (0.299, 0.587, 0.114)
    larger = np.floor(cells.reshape(14, 2, 14, 2, 3).mean(axis=(1, 3)) + 0.5)
    hue, saturation, value = np.moveaxis(rgb2hsv(larger / 255) * (360, 255, 255), 2, 0)
    ink = (
        ((hue >= 70) & (hue < 200) & (saturation >= 70))
        | ((hue >= 200) & (hue < 250) & (saturation >= 150))
        | ((value <= 90) & (saturation <= 70))
    ) & (value >= 10)
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return {
        "tissue": ((lightness >= 10) & ((hsv[..., 1] * 255 >= 20) | (lightness <= 200))).mean(),
        "blur": blur_effect(gray, h_size=11) if gray.std() > 0 else 1.0,
        "brightness": lightness.mean() / 255,
        "saturation": hsv[..., 1].mean(),
        "pen": ink.mean(),
        "black": (cells < 20).all(axis=2).mean(),
        "white": (cells > 220).all(axis=2).mean(),
    }


PICTURES: dict[str, Callable[[], UInt8Array]] = {
    "white": lambda: plain(255, 255, 255),
    "black": lambda: plain(0, 0, 0),
    "glass": lambda: plain(242, 241, 243),
    "IHC": lambda: cut(tissue(1024, 1024)),
    "H&E": lambda: cut(stained(1024, 1024)),
    "half tissue": lambda: half(cut(stained(1024, 1024)), plain(243, 243, 243)),
    "half not scanned": lambda: half(cut(tissue(1024, 1024)), plain(0, 0, 0)),
    "blurred": lambda: np.asarray(cv2.GaussianBlur(cut(tissue(1024, 1024)), (0, 0), 2.5), np.uint8),
    "pen": lambda: np.asarray(
        cv2.line(plain(243, 243, 243), (0, 40), (223, 180), (20, 60, 180), 40), np.uint8
    ),
    "noise": lambda: np.random.default_rng(7).integers(0, 256, (SIDE, SIDE, 3), np.uint8),
}


@pytest.mark.parametrize("name", PICTURES)
def test_measures_are_what_their_definitions_give(name: str) -> None:
    pixels = PICTURES[name]()
    expected = independently(pixels)
    # A cell at a threshold may fall to either side; blur is that of some rows and columns.
    tolerances = {"blur": 0.035, "brightness": 0.003, "saturation": 0.003}
    for one, value in found(pixels).items():
        assert 0 <= value <= 1
        assert value == pytest.approx(expected[one], abs=tolerances.get(one, 0.015)), one


def test_planted_pictures_are_told_apart() -> None:
    seen = {name: found(make()) for name, make in PICTURES.items()}
    assert seen["white"] == pytest.approx(
        {"tissue": 0, "blur": 1, "brightness": 1, "saturation": 0, "pen": 0, "black": 0, "white": 1}
    )
    assert seen["black"] == pytest.approx(
        {"tissue": 0, "blur": 1, "brightness": 0, "saturation": 0, "pen": 0, "black": 1, "white": 0}
    )
    assert seen["glass"]["tissue"] == 0
    assert seen["H&E"]["tissue"] > 0.95
    assert seen["half tissue"]["tissue"] == pytest.approx(0.5, abs=0.03)
    assert seen["half not scanned"]["black"] == pytest.approx(0.5, abs=0.03)
    assert seen["blurred"]["blur"] > 0.6
    assert seen["IHC"]["blur"] < 0.4
    assert [seen[name]["pen"] for name in ("glass", "IHC", "H&E", "black", "half not scanned")] == [0] * 5


@pytest.mark.parametrize("ink", INKS)
@pytest.mark.parametrize("on", ["glass", "IHC", "H&E"])
def test_a_stroke_of_a_pen_has_its_share(ink: tuple[int, int, int], on: str) -> None:
    pixels = PICTURES[on]()
    pixels[:, 64:160] = ink
    assert found(pixels)["pen"] == pytest.approx(96 / SIDE, abs=0.05)


@pytest.mark.parametrize("make", [tissue, stained], ids=["IHC", "H&E"])
def test_stained_tissue_is_no_ink(make: Callable[[int, int], UInt8Array]) -> None:
    whole = make(1024, 1024)
    places = [(x, y) for y in range(0, 800, 80) for x in range(0, 800, 80)]
    assert not measure([cut(whole, x, y) for x, y in places])[:, [*Measure].index(Measure.PEN)].any()


def test_a_patch_has_the_same_measures_whoever_is_measured_beside_it() -> None:
    patches = [make() for make in PICTURES.values()]
    together = measure(patches)
    assert together.dtype == np.float32
    assert together.shape == (len(patches), len(Measure))
    for row, pixels in zip(together, patches, strict=True):
        np.testing.assert_array_equal(row, measure([pixels])[0])
    assert measure([]).shape == (0, len(Measure))


def test_each_measure_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Measure)
