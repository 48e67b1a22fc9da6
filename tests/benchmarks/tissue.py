"""How the rule for tissue does beside Otsu's threshold on saturation, as CLAM uses it.

``python -m tests.benchmarks.tissue`` prints the table of docs/outputs.md.

Each case is an overview of a slide with known tissue: real tissue, shrunk, in blobs on glass, and something
that deceives. A patch of 16 x 16 pixels of the overview is missed when at least half of it is tissue and it
is not taken, and is in vain when none of it is tissue and it is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dicom_io.geometry import Rect
from dicom_io.slides.slide import grid
from dicom_io.slides.tissue import TissueMap, tissue_mask
from tests.support.slides import stained
from tests.support.tissue import UInt8Array, tissue

SIDE = 1024
PATCH = 16
LEAST = 0.05
GLASS = (243, 241, 244)

Mask = npt.NDArray[np.bool_]
Rule = Callable[[UInt8Array], Mask]


@dataclass(frozen=True, slots=True)
class Case:
    """An overview, and where its tissue is."""

    name: str
    overview: UInt8Array
    truth: Mask


@dataclass(frozen=True, slots=True)
class Score:
    """Shares, 0 to 1, of the patches with tissue that are missed, and of those without that are taken."""

    missed: float
    in_vain: float


def otsu_of_saturation(pixels: UInt8Array) -> Mask:
    """Return tissue by CLAM's segmentation: blurred saturation, Otsu's threshold, closing."""
    saturation = cv2.medianBlur(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[:, :, 1], 7)
    _, found = cv2.threshold(saturation, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    closed = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((4, 4), np.uint8))
    return np.asarray(closed > 0, np.bool_)


def fixed_saturation(pixels: UInt8Array) -> Mask:
    """Return tissue by CLAM's threshold without Otsu: 8 of 255."""
    saturation = cv2.medianBlur(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[:, :, 1], 7)
    closed = cv2.morphologyEx((saturation > 8).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((4, 4), np.uint8))
    return np.asarray(closed > 0, np.bool_)


def rule_of_0_2(pixels: UInt8Array) -> Mask:
    """Return tissue by the rule of pathserve 0.2.0, which took all glass for the same."""
    saturation = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[:, :, 1]
    lightness = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(((saturation >= 20) | (lightness <= 200)) & (lightness >= 10), np.bool_)


RULES: dict[str, Rule] = {
    "pathserve": tissue_mask,
    "Otsu (CLAM)": otsu_of_saturation,
    "saturation > 8 (CLAM)": fixed_saturation,
    "saturation >= 20, lightness <= 200 (0.2.0)": rule_of_0_2,
}


def score(case: Case, rule: Rule) -> Score:
    """Return how a rule does on a case."""
    patches = grid(Rect(0, 0, SIDE, SIDE), PATCH, PATCH)
    truth = TissueMap(case.truth, SIDE, SIDE)
    found = TissueMap(rule(case.overview), SIDE, SIDE)
    with_tissue = [patch for patch in patches if truth.share(patch) >= 0.5]
    without = [patch for patch in patches if truth.share(patch) == 0]
    taken = len(found.where(with_tissue, LEAST)) / len(with_tissue) if with_tissue else 1.0
    return Score(1 - taken, len(found.where(without, LEAST)) / len(without))


def cases() -> Iterator[Case]:
    """Yield the cases."""
    blobs, small = _blobs(1, 0.35), _blobs(2, 0.01)
    he, ihc = _seen_small(stained(SIDE * 4, SIDE * 4)), _seen_small(tissue(SIDE * 4, SIDE * 4))
    glass = _glass()
    yield Case("H&E", _on(glass, he, blobs), blobs)
    yield Case("IHC (real tissue)", _on(glass, ihc, blobs), blobs)
    yield Case("a small biopsy", _on(glass, he, small), small)
    faint = _faded(ihc, 0.2)
    yield Case("faint IHC", _on(glass, faint, blobs), blobs)
    yield Case("fat", _on(glass, _fat(), blobs), blobs)
    half = he.copy()
    half[:, SIDE // 2 :] = _fat()[:, SIDE // 2 :]
    yield Case("H&E with fat", _on(glass, half, blobs), blobs)
    for colour, name in (((20, 60, 160), "blue"), ((20, 110, 50), "green"), ((15, 15, 18), "black")):
        yield Case(f"{name} pen", _with_pen(_on(glass, he, blobs), blobs, colour), blobs)
    bordered = blobs.copy()
    overview = _on(glass, he, blobs)
    for edge in (np.s_[:160], np.s_[:, :160]):
        overview[edge], bordered[edge] = 0, False
    yield Case("black borders", overview, bordered)
    gray = np.repeat(cv2.cvtColor(_on(glass, he, blobs), cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    yield Case("gray slide", np.ascontiguousarray(gray), blobs)
    for name, light in (("yellow light", (0.99, 0.98, 0.88)), ("dim light", (0.8, 0.8, 0.8))):
        yield Case(name, (_on(glass, he, blobs) * np.array(light)).astype(np.uint8), blobs)
    yield Case("no tissue", glass, np.zeros((SIDE, SIDE), bool))


def _glass(colour: tuple[int, int, int] = GLASS) -> UInt8Array:
    """Return bare glass: a colour with a little noise and uneven light."""
    noise = np.random.default_rng(0).normal(0, 1.5, (SIDE, SIDE, 1))
    light = np.linspace(0, -5, SIDE)[None, :, None]
    return np.clip(np.array(colour) + noise + light, 0, 255).astype(np.uint8)


def _blobs(seed: int, share: float) -> Mask:
    """Return smooth blobs over about a share of the slide."""
    noise = np.random.default_rng(seed).normal(0, 1, (SIDE, SIDE))
    smooth = cv2.GaussianBlur(noise, (0, 0), 40)
    return np.asarray(smooth > np.quantile(smooth, 1 - share), np.bool_)


def _seen_small(pixels: UInt8Array) -> UInt8Array:
    return np.asarray(cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _on(glass: UInt8Array, pixels: UInt8Array, where: Mask) -> UInt8Array:
    soft = cv2.GaussianBlur(where.astype(np.float32), (0, 0), 1)[:, :, None]
    return np.asarray(np.rint(pixels * soft + glass * (1 - soft)), np.uint8)


def _faded(pixels: UInt8Array, strength: float) -> UInt8Array:
    return np.asarray(np.rint(np.array(GLASS) * (1 - strength) + pixels * strength), np.uint8)


def _fat() -> UInt8Array:
    """Return adipose tissue: empty cells of about 8 pixels with pink membranes of less than one."""
    points = np.random.default_rng(3).random((16_000, 2)) * SIDE * 2
    seeds = np.full((SIDE * 2, SIDE * 2), 255, np.uint8)
    seeds[points[:, 0].astype(int), points[:, 1].astype(int)] = 0
    _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    edges = np.zeros((SIDE * 2, SIDE * 2), bool)
    edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edges[1:] |= labels[1:] != labels[:-1]
    pixels = np.where(edges[:, :, None], np.array((214, 160, 196)), np.array(GLASS)).astype(np.uint8)
    return np.asarray(cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _with_pen(pixels: UInt8Array, where: Mask, colour: tuple[int, int, int]) -> UInt8Array:
    """Return a slide with a thick line of a marker around, and on the glass beside, its tissue."""
    marked = pixels.copy()
    curve = [(int(512 + 470 * np.cos(t)), int(512 + 440 * np.sin(t))) for t in np.linspace(0, 6.3, 60)]
    cv2.polylines(marked, [np.array(curve, np.int32)], True, colour, 22)
    marked[where] = pixels[where]
    return marked


def main() -> None:
    """Print a table in Markdown."""
    print(f"| overview | {' | '.join(RULES)} |\n|---|{'---|' * len(RULES)}")
    for case in cases():
        scores = [score(case, rule) for rule in RULES.values()]
        cells = " | ".join(f"{one.missed:.0%} / {one.in_vain:.0%}" for one in scores)
        print(f"| {case.name} | {cells} |")


if __name__ == "__main__":
    main()
