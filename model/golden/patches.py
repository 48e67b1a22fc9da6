"""The patches of a golden file: three like stained tissue, and five that show one kind of fault each.

They are kept in the file itself, so one that was made once does not depend on what is computed here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from model.encoder import PATCH_SIDE, PixelBatch

Plane = npt.NDArray[np.float64]
"""float64 ``[224, 224]``."""

Pixels = npt.NDArray[np.uint8]
"""uint8 RGB ``[224, 224, 3]``."""

_HAEMATOXYLIN, _EOSIN, _DAB = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)
"""Optical densities in red, green and blue (Ruifrok and Johnston, Anal Quant Cytol Histol 23, 291-299)."""


def golden_patches() -> tuple[tuple[str, ...], PixelBatch]:
    """Return the patches' names, and the patches: uint8 RGB ``[8, 224, 224, 3]``.

    None is the same when it is turned or mirrored, or when two of its colours are swapped.
    """
    makers: dict[str, Callable[[np.random.RandomState], Pixels]] = {
        "stroma": lambda random: _tissue(random, nuclei=30, stain=_EOSIN),
        "tumour": lambda random: _tissue(random, nuclei=130, stain=_EOSIN),
        "immunostain": lambda random: _tissue(random, nuclei=60, stain=_DAB),
        "glass": _glass,
        "levels": _levels,
        "mosaic": _mosaic,
        "lines": _lines,
        "noise": _noise,
    }
    patches = [make(np.random.RandomState(224 + number)) for number, make in enumerate(makers.values())]
    return tuple(makers), np.stack(patches)


def _tissue(random: np.random.RandomState, *, nuclei: int, stain: tuple[float, float, float]) -> Pixels:
    """Return nuclei in haematoxylin on fibres in another stain, with gaps between them."""
    fibres = _smoothed(random, 3, 14)
    other = np.clip(0.35 + 0.22 * fibres + 0.05 * _smoothed(random, 1, 1), 0, None)
    nuclear = 0.06 + 0.02 * _smoothed(random, 6, 6)
    y, x = np.mgrid[:PATCH_SIDE, :PATCH_SIDE]
    chromatin = _smoothed(random, 1.5, 1.5)
    for _ in range(nuclei):
        centre_y, centre_x = random.uniform(0, PATCH_SIDE, 2)
        long, share, angle = random.uniform(5, 11), random.uniform(0.5, 0.95), random.uniform(0, np.pi)
        along = (x - centre_x) * np.cos(angle) + (y - centre_y) * np.sin(angle)
        across = (y - centre_y) * np.cos(angle) - (x - centre_x) * np.sin(angle)
        distance = (along / long) ** 2 + (across / (long * share)) ** 2
        inside = 1 / (1 + np.exp(np.minimum(8 * (distance - 1), 50)))
        nuclear = np.maximum(nuclear, inside * (0.9 + 0.25 * chromatin))
    gap = 1 / (1 + np.exp(3 * (_smoothed(random, 25, 25) - 1.2)))  # 0 where there is no tissue
    density = np.multiply.outer(nuclear * gap, _HAEMATOXYLIN) + np.multiply.outer(other * gap, stain)
    return _rounded(243 * 10.0**-density + random.normal(0, 1.5, density.shape))


def _glass(random: np.random.RandomState) -> Pixels:
    """Return what a slide shows beside its tissue: light that falls off to a corner, a speck, and noise."""
    y, x = np.mgrid[:PATCH_SIDE, :PATCH_SIDE] / PATCH_SIDE
    light = np.stack([243 - 6 * x * y, 242 - 5 * x, 245 - 9 * y * x], axis=-1)
    speck = np.exp(-(((x - 0.7) / 0.02) ** 2) - ((y - 0.2) / 0.05) ** 2)[..., np.newaxis]
    return _rounded(light - 90 * speck + random.normal(0, 1.0, light.shape))


def _levels(_: np.random.RandomState) -> Pixels:
    """Return every level of each colour, from 0 to 255, each colour in a direction of its own."""
    y, x = np.mgrid[:PATCH_SIDE, :PATCH_SIDE]
    return np.stack([2 * x + y, x - 2 * y, 3 * x + 2 * y], axis=-1).astype(np.uint8)  # modulo 256


def _mosaic(random: np.random.RandomState) -> Pixels:
    """Return squares of 16 pixels, the tokens of a ViT-S/16, each of a colour of its own."""
    colours = random.randint(0, 256, (PATCH_SIDE // 16, PATCH_SIDE // 16, 3)).astype(np.uint8)
    return colours.repeat(16, axis=0).repeat(16, axis=1)


def _lines(_: np.random.RandomState) -> Pixels:
    """Return lines of one pixel: what resampling and smoothing destroy."""
    y, x = np.mgrid[:PATCH_SIDE, :PATCH_SIDE]
    return np.stack([255 * (x % 2), 255 * ((x + y) % 3 == 0), 255 * (y % 4 < 1)], axis=-1).astype(np.uint8)


def _noise(random: np.random.RandomState) -> Pixels:
    """Return pixels that have nothing to do with each other."""
    return random.randint(0, 256, (PATCH_SIDE, PATCH_SIDE, 3)).astype(np.uint8)


def _smoothed(random: np.random.RandomState, sigma_y: float, sigma_x: float) -> Plane:
    """Return noise of mean 0 and deviation 1 that was blurred by a Gaussian of so many pixels."""
    frequencies = np.fft.fftfreq(PATCH_SIDE)
    kernel = np.exp(-2 * np.pi**2 * np.add.outer((sigma_y * frequencies) ** 2, (sigma_x * frequencies) ** 2))
    plane: Plane = np.fft.ifft2(np.fft.fft2(random.normal(size=(PATCH_SIDE, PATCH_SIDE))) * kernel).real
    plane -= plane.mean()
    plane /= plane.std()
    return plane


def _rounded(values: npt.NDArray[np.float64]) -> Pixels:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
