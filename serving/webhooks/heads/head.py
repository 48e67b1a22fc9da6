"""A linear head: what turns an embedding into probabilities of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


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
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    um_per_px: float
    encoder_digest: str
    untrained: bool = False

    def require(self, encoder_digest: str, um_per_px: float) -> None:
        """Raise HeadError unless the head is made for this encoder and this resolution, within 2 %."""
        raise NotImplementedError

    def probabilities(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the softmax over the classes.

        Parameters
        ----------
        embeddings:
            float32 ``[n, dimension]``.

        Returns
        -------
        float32 ``[n, classes]``
        """
        raise NotImplementedError
