"""Whether another way to run a model gives the same vectors: fixed patches, cosines, and thresholds."""

from __future__ import annotations

import numpy as np

from model.encoder import PATCH_SHAPE, PATCH_SIDE, PixelBatch, Vectors

MIN_COSINE = {"float32": 0.999999, "bfloat16": 0.9999, "int8": 0.9995}
"""Least cosine to TensorFlow's float32 vectors at which a precision is kept."""

PARITY_PATCHES = 4


def parity_patches(count: int = PARITY_PATCHES) -> PixelBatch:
    """Return patches of smooth colour gradients with noise: every level of every channel occurs.

    Returns
    -------
    uint8 ``[count, 224, 224, 3]``
    """
    random = np.random.RandomState(224)
    ramp = np.linspace(0, 255, PATCH_SIDE)
    smooth = np.stack([np.add.outer(ramp, ramp) / 2, np.add.outer(ramp[::-1], ramp) / 2], -1)
    base = np.concatenate([smooth, smooth[..., :1].transpose(1, 0, 2)[::-1]], -1)
    noise = random.randint(-40, 40, (min(count, PARITY_PATCHES), *PATCH_SHAPE))
    patches = np.clip(base + noise, 0, 255).astype(np.uint8)
    return np.resize(patches, (count, *PATCH_SHAPE))


def min_cosine(expected: Vectors, actual: Vectors) -> float:
    """Return the least cosine similarity between corresponding rows; 0 where one is not finite."""
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(actual, axis=1)
    cosines = (expected * actual).sum(axis=1) / np.maximum(norms, 1e-30)
    return float(cosines.min()) if np.isfinite(cosines).all() else 0.0


def finding(precision: str, expected: Vectors, actual: Vectors) -> tuple[bool, str]:
    """Return whether a precision's vectors are near enough to float32's, and the finding in words."""
    cosine, needed = min_cosine(expected, actual), MIN_COSINE[precision]
    if cosine < needed:
        return False, f"{precision} refused: cosine {cosine:.6f} to float32, {needed} needed"
    return True, f"cosine {cosine:.6f} to float32"
