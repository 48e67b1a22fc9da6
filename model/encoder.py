"""What an encoder is to its users: patches in, embedding vectors out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import numpy as np
import numpy.typing as npt

PATCH_SIDE = 224
"""Side of a patch in pixels (Path Foundation model card)."""

PATCH_SHAPE = (PATCH_SIDE, PATCH_SIDE, 3)
PATCH_BYTES = PATCH_SIDE * PATCH_SIDE * 3

PixelBatch = npt.NDArray[np.uint8]
"""uint8 RGB ``[n, 224, 224, 3]``."""

Vectors = npt.NDArray[np.float32]
"""float32 ``[n, dimension]``."""


class Mend(Enum):
    """What may be set differently so that a model can be loaded.

    How it is set is not known here: the caller of the loader names its own settings.
    """

    MODEL = auto()
    """Where the model is."""

    CACHE_FOLDER = auto()
    """Which folder keeps downloads and what is made of models."""

    REPRODUCIBLE = auto()
    """Whether vectors must be the same to the last bit."""


class ModelError(Exception):
    """The model cannot be loaded.

    Parameters
    ----------
    text:
        One sentence, with its full stop, for the person who starts the service.
    mend:
        What to set, where that may help.
    """

    def __init__(self, text: str, mend: Mend | None = None) -> None:
        super().__init__(text)
        self.mend = mend


_NO_REASON = (
    *("Graph execution error", "Detected at node", "<stack traces", "Traceback", "File ", "[["),
    *("Exception from", "Check '"),
)
"""How lines of TensorFlow's and OpenVINO's messages begin that say where something failed, not why."""


def reason_of(error: BaseException) -> str:
    """Return the reason in a runtime's exception: one line of at most 300 characters, without a full stop."""
    lines = (line.strip() for line in str(error).splitlines())
    reason = next((line for line in lines if line and not line.startswith(_NO_REASON)), "")
    reason = "".join(c if c.isprintable() else "?" for c in reason.partition(" [[")[0])
    return reason[:300].rstrip(" .") or type(error).__name__


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """Facts about the encoder that runs, for logs and for clients.

    Attributes
    ----------
    model:
        Name of the model.
    untrained:
        True for random weights: the vectors mean nothing about tissue.
    dimension:
        Length of an embedding vector.
    device:
        Where it runs, e.g. ``CPU`` or ``GPU: NVIDIA L4``.
    precision:
        ``float32``, ``bfloat16`` or ``int8``: what runs, after the parity check.
    parity:
        The parity check's finding, in words; empty where TensorFlow's float32 runs.
    digest:
        ``sha256:`` and the hash of the model's files or weights.
    runtime:
        TensorFlow or OpenVINO, and its version.
    max_batch:
        Largest batch in patches.
    golden:
        Digest of the golden file that it is held to while it runs; empty where there is none.
    reproducible:
        Whether a patch's vector is the same to the last bit whatever else is embedded with it.
    """

    model: str
    untrained: bool
    dimension: int
    device: str
    precision: str
    parity: str
    digest: str
    runtime: str
    max_batch: int
    golden: str = ""
    reproducible: bool = False


class Encoder(Protocol):
    """Embeds patches. Called from one thread at a time."""

    @property
    def facts(self) -> EncoderFacts: ...

    def embed(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, dimension]``; any exception fails the batch."""
