"""A linear head: what turns an embedding into probabilities of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

SAME_RESOLUTION = 0.02
"""Share by which resolutions may differ: scanners round theirs, and resized levels have whole pixels."""


class HeadError(Exception):
    """A head cannot be used, read or trained; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Head:
    """A linear classifier, and what its embeddings must have been made with.

    Attributes
    ----------
    name:
        For a person to read.
    classes:
        Names of the classes, at least two.
    colours:
        ``#RRGGBB`` of each class.
    weights, bias:
        float32 ``[classes, dimension]`` and ``[classes]``.
    um_per_px:
        Resolution of the patches.
    encoder_digest:
        Of the encoder that made the embeddings, ``sha256:…``.
    untrained:
        Whether that encoder's weights were random.
    """

    name: str
    classes: tuple[str, ...]
    colours: tuple[str, ...]
    weights: Float32Array
    bias: Float32Array
    um_per_px: float
    encoder_digest: str
    untrained: bool = False

    def require(self, encoder_digest: str, um_per_px: float) -> None:
        """Refuse to be used with anything but what it was trained for.

        Raises
        ------
        HeadError
            When the encoder is another, or the resolution, by more than 2 %.
        """
        if encoder_digest != self.encoder_digest:
            raise HeadError(
                f'The head "{self.name}" is made for the encoder {self.encoder_digest}, but {encoder_digest} '
                "runs; use that encoder, or train a head for this one."
            )
        if not abs(um_per_px / self.um_per_px - 1) <= SAME_RESOLUTION:
            raise HeadError(
                f'The head "{self.name}" is made for {self.um_per_px:g} µm/px, not for {um_per_px:g}; choose '
                "its resolution, or train a head for this one."
            )

    def probabilities(self, embeddings: Float32Array) -> Float32Array:
        """Return the softmax over the classes.

        Parameters
        ----------
        embeddings:
            float32 ``[n, dimension]``, finite.

        Returns
        -------
        float32 ``[n, classes]``
        """
        logits = embeddings.astype(np.float64) @ self.weights.T.astype(np.float64) + self.bias
        return np.asarray(softmax(logits), np.float32)


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return probabilities, float64 ``[n, classes]``; each row's sum is 1."""
    # Less the largest, no power overflows.
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)
