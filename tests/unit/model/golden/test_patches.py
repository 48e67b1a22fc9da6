"""Golden patches show what smooth or symmetric ones hide."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from model.golden.comparison import BETWEEN_CPUS, TOLERANCES, compared
from model.golden.patches import golden_patches
from model.runtimes.seeded_weights import MLP, PATCH, WIDTH, seeded_weights

NAMES, PATCHES = golden_patches()
WEIGHTS = seeded_weights().by_name

Change = Callable[[np.ndarray], np.ndarray]
"""From pixels or numbers to wrong ones of the same shape."""


def in_bfloat16(values: np.ndarray) -> np.ndarray:
    """Round float32 to the 8 bits of bfloat16's significand."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)


def first_layers(scaled: np.ndarray, of: Change = lambda values: values) -> np.ndarray:
    """Return what two layers of the built-in encoder make of patches, averaged over halves.

    Parameters
    ----------
    of:
        What becomes of everything that is multiplied.
    """
    tokens = scaled.reshape(len(scaled), 14, PATCH, 14, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    hidden = of(tokens.reshape(len(scaled), 196, -1)) @ of(WEIGHTS["embed/kernel"].reshape(-1, WIDTH))
    hidden = np.tanh(hidden + WEIGHTS["tokens/position"][0, 1:])
    hidden = of(hidden) @ of(WEIGHTS["block0/mlp1/kernel"])
    assert hidden.shape[-1] == MLP
    halves = np.tanh(hidden).reshape(len(scaled), 2, 98, MLP).mean(axis=2)
    return np.asarray(halves.reshape(len(scaled), -1), np.float32)


EXPECTED = first_layers(PATCHES / np.float32(255))


def test_there_are_eight_that_are_made_the_same_each_time_and_none_is_smooth() -> None:
    again = golden_patches()[1]
    np.testing.assert_array_equal(PATCHES, again)
    assert PATCHES.shape == (8, 224, 224, 3)
    assert PATCHES.dtype == np.uint8
    assert len(set(NAMES)) == 8
    levels = PATCHES[NAMES.index("levels")]
    assert [len(np.unique(levels[..., colour])) for colour in range(3)] == [256] * 3


def test_none_is_the_same_when_it_is_turned_or_mirrored_or_two_colours_are_swapped() -> None:
    for patch in PATCHES:
        for turns, mirrored in itertools.product(range(4), (False, True)):
            if turns or mirrored:
                turned = np.rot90(patch[:, ::-1] if mirrored else patch, turns)
                assert (turned != patch).mean() > 0.2
        for order in itertools.permutations(range(3)):
            if order != (0, 1, 2):
                assert (patch[..., order] != patch).mean() > 0.2


PIXELS: list[tuple[str, Change]] = [
    ("blue for red", lambda p: p[..., ::-1]),
    ("mirrored", lambda p: p[:, ::-1]),
    ("rows for columns", lambda p: p.transpose(1, 0, 2)),
    ("a level too bright", lambda p: np.clip(p.astype(int) + 1, 0, 255)),
    ("another gamma", lambda p: np.round(255 * (p / 255) ** 1.05)),
    ("shifted by a pixel", lambda p: np.roll(p, 1, axis=1)),
    ("compressed", lambda p: np.asarray(cv2.imdecode(cv2.imencode(".jpg", p, [1, 95])[1], 1))),
    ("halved and doubled", lambda p: cv2.resize(cv2.resize(p, (112, 112)), (224, 224))),
    ("another size", lambda p: cv2.resize(cv2.resize(p, (256, 256)), (224, 224))),
]
SCALES: list[tuple[str, Change]] = [
    ("by 256", lambda p: p / np.float32(256)),
    ("to -1..1", lambda p: p / np.float32(127.5) - 1),
    ("not at all", lambda p: p.astype(np.float32)),
    ("by mean and deviation", lambda p: (p / np.float32(255) - 0.45) / np.float32(0.225)),
]


@pytest.mark.parametrize(("what", "change"), PIXELS)
def test_wrong_pixels_are_seen_even_by_the_widest_tolerance_for_float32(what: str, change: Change) -> None:
    pixels = np.stack([np.asarray(change(patch), np.uint8) for patch in PATCHES])
    found = compared(NAMES, EXPECTED, first_layers(pixels / np.float32(255)), TOLERANCES["float32"])
    assert not found.reproduced, what


@pytest.mark.parametrize(("what", "change"), SCALES)
def test_a_wrong_scale_is_seen(what: str, change: Change) -> None:
    found = compared(NAMES, EXPECTED, first_layers(change(PATCHES)), BETWEEN_CPUS)
    assert found.missed == 8, what


def test_a_lower_precision_that_is_called_float32_is_seen() -> None:
    lower = first_layers(PATCHES / np.float32(255), in_bfloat16)
    assert not compared(NAMES, EXPECTED, lower, BETWEEN_CPUS).reproduced
    assert compared(NAMES, EXPECTED, lower, TOLERANCES["bfloat16"]).reproduced
