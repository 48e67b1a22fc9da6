"""Whether an encoder gives one finite vector a patch, tried at every batch size that will be run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from model.encoder import ModelError, PixelBatch, Vectors, reason_of
from model.runtimes.parity import parity_patches


def warm(
    embed: Callable[[PixelBatch], Vectors], sizes: Sequence[int], model: str, length: int | None = None
) -> int:
    """Run batches of each size once and return the length of the vectors.

    A model may declare no shape, and give another one for a single patch than for several: a fault that
    is not found here would be blamed on callers' images.

    Parameters
    ----------
    sizes:
        Batch sizes in patches, at least one.
    model:
        The model's name, for the sentence.
    length:
        Expected length of a vector; any, but the same for all sizes, where it is not given.

    Raises
    ------
    ModelError
        When a batch cannot be run, or gives anything but one finite vector for each patch.
    """
    for size in sizes:
        vectors = _embed(embed, size, model)
        if vectors.ndim != 2 or vectors.shape != (size, length or vectors.shape[1]):
            raise ModelError(
                f"The model {model} gives {list(vectors.shape)} for a batch of {size}; "
                f"expected one vector for each patch, [{size}, {length or 'length'}]."
            )
        length = vectors.shape[1]
        if not length or not np.isfinite(vectors).all():
            raise ModelError(
                f"The model {model} gives vectors that are empty or not finite for a batch of {size}."
            )
    return length or 0


def _embed(embed: Callable[[PixelBatch], Vectors], size: int, model: str) -> Vectors:
    try:
        return embed(parity_patches(size))
    except Exception as error:  # runtimes raise many kinds
        raise ModelError(f"The model {model} does not run a batch of {size}: {reason_of(error)}.") from error
