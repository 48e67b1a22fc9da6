"""The built-in encoder's weights, from one seed; by NumPy alone: TensorFlow is imported meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.encoder import PATCH_SHAPE

PATCH, WIDTH, BLOCKS, HEADS, MLP = 16, 384, 12, 6, 1536
"""ViT-S/16: a token's side in pixels, its length, blocks, heads, length of a block's hidden layer."""

TOKENS = (PATCH_SHAPE[0] // PATCH) ** 2
_SEED = 16_384

Weight = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SeededWeights:
    """All weights of the encoder.

    Attributes
    ----------
    by_name:
        float32 arrays; kernels are ``[inputs, outputs]``, but that of the first convolution.
    digest:
        ``sha256:`` and the hash of their bytes.
    """

    by_name: dict[str, Weight]
    digest: str


def seeded_weights() -> SeededWeights:
    """Return the weights, the same on every machine.

    NumPy's RandomState stream is frozen by its compatibility policy. Kernels get a variance of 1/inputs,
    which keeps activations of order one through all blocks.
    """
    random = np.random.RandomState(_SEED)
    digest = hashlib.sha256()
    by_name: dict[str, Weight] = {}
    for name, shape in _shapes():
        kind = name.rpartition("/")[2]
        if kind == "gamma":
            value = np.ones(shape, np.float32)
        elif kind in ("beta", "bias"):
            value = np.zeros(shape, np.float32)
        else:
            scale = 0.02 if kind in ("class_token", "position") else float(np.prod(shape[:-1])) ** -0.5
            value = (random.standard_normal(shape) * scale).astype(np.float32)
        digest.update(value.tobytes())
        by_name[name] = value
    return SeededWeights(by_name, f"sha256:{digest.hexdigest()}")


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield each weight's name and shape, in the order in which they are drawn."""
    yield "embed/kernel", (PATCH, PATCH, PATCH_SHAPE[2], WIDTH)
    yield "embed/bias", (WIDTH,)
    yield "tokens/class_token", (1, 1, WIDTH)
    yield "tokens/position", (1, TOKENS + 1, WIDTH)
    for number in range(BLOCKS):
        block = f"block{number}"
        yield from _norm(f"{block}/norm1")
        for name in ("query", "key", "value", "output"):
            yield from _dense(f"{block}/{name}", WIDTH, WIDTH)
        yield from _norm(f"{block}/norm2")
        yield from _dense(f"{block}/mlp1", WIDTH, MLP)
        yield from _dense(f"{block}/mlp2", MLP, WIDTH)
    yield from _norm("norm")


def _norm(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}/gamma", (WIDTH,)
    yield f"{name}/beta", (WIDTH,)


def _dense(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}/kernel", (inputs, outputs)
    yield f"{name}/bias", (outputs,)
