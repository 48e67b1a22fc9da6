"""Encoders without a model, for tests of what is around it."""

from __future__ import annotations

import threading

import numpy as np

from model.encoder import EncoderFacts, PixelBatch, Vectors
from tests.support import models

DIMENSION = 4


def facts(max_batch: int = 8, device: str = "CPU") -> EncoderFacts:
    """Return the facts of an encoder that is no model."""
    return EncoderFacts("corner", False, DIMENSION, device, "float32", "", "sha256:00", "NumPy", max_batch)


class CornerEncoder:
    """Gives the first four bytes of a patch as its vector, so that a swapped vector shows.

    A patch whose first byte is 255 is poison. ``gate`` holds batches back while it is cleared.
    """

    def __init__(self, max_batch: int = 8, device: str = "CPU") -> None:
        self.facts = facts(max_batch, device)
        self.gate = threading.Event()
        self.gate.set()
        self.running = threading.Event()
        self.sizes: list[int] = []

    def embed(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, 4]``."""
        self.running.set()
        assert self.gate.wait(30)
        self.sizes.append(len(patches))
        corners = patches.reshape(len(patches), -1)[:, :DIMENSION]
        if (corners[:, 0] == 255).any():
            raise RuntimeError("poison")
        return corners.astype(np.float32)


class ProbeEncoder:
    """The poisonable probe model (``tests.support.models``) without TensorFlow."""

    facts = EncoderFacts(
        "poisonable", False, models.DIMENSION, "CPU", "float32", "", f"sha256:{'0' * 64}", "NumPy", 16
    )

    def embed(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, 384]``."""
        if (patches[:, 0, 0, 0] == models.POISON).any():
            raise RuntimeError("poison")
        return models.probe(patches)
