"""TensorFlow: load a SavedModel, and run any model of its signature on uint8 patches.

Path Foundation's SavedModel has the signature ``serving_default``: one float32 input
``[None, 224, 224, 3]`` with values 0..1, output ``output_0`` ``[None, 384]``. Any model with such
an input and one vector output runs, whatever its vector's length.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Read when Keras is imported, by TensorFlow below. A user's settings for it (another backend, another float)
# would change models or end the start. And for a user without a home folder it would make one named ~ in the
# current folder: below a file it can make none.
os.environ |= {"KERAS_HOME": os.devnull, "KERAS_BACKEND": "tensorflow"}

import tensorflow as tf

from model.batching import bucket_sizes
from model.encoder import (
    PATCH_SHAPE,
    PATCH_SIDE,
    EncoderFacts,
    ModelError,
    PixelBatch,
    Vectors,
    reason_of,
)
from model.runtimes.parity import PARITY_PATCHES, finding, parity_patches
from model.runtimes.warming import warm
from model.weights.cache import folder_digest

CPU_MAX_BATCH, GPU_MAX_BATCH = 16, 128
"""Default largest batches, in patches: a CPU gains nothing from more, and a batch is what a small
request waits for."""

_SIGNATURE = "serving_default"
_OUTPUT = "output_0"
_BFLOAT16_REWRITE = "auto_mixed_precision_onednn_bfloat16"

log = logging.getLogger(__name__)

Forward = Callable[[tf.Tensor], tf.Tensor]
"""float32 ``[n, 224, 224, 3]`` in 0..1 to float ``[n, dimension]``."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that has been checked but not compiled.

    Attributes
    ----------
    forward:
        The model as a function of scaled pixels.
    keep_alive:
        The object that owns the weights.
    """

    name: str
    untrained: bool
    digest: str
    forward: Forward
    keep_alive: object


class TensorFlowEncoder:
    """Runs a model in TensorFlow: pixels go to the device as uint8, cast and scaled in the graph.

    Parameters
    ----------
    precision:
        ``float32``, or ``bfloat16``, which is kept only if its vectors agree with float32's.
    max_batch:
        Largest batch in patches; by the device when not given. Every batch size that will be used
        is run once before this returns.

    Raises
    ------
    ModelError
        When the model does not run, or gives no vector for each patch.
    """

    def __init__(self, model: LoadedModel, precision: str, max_batch: int | None = None) -> None:
        self._model = model
        device = _prepare_device()
        self._function = _compile(model.forward)
        max_batch = max_batch or (CPU_MAX_BATCH if device == "CPU" else GPU_MAX_BATCH)
        sizes = (PARITY_PATCHES, *bucket_sizes(max_batch))
        dimension = warm(self.embed, sizes, model.name)
        parity = ""
        if precision != "float32":
            precision, parity = self._try(precision)
            warm(self.embed, sizes, model.name, dimension)
        self.facts = EncoderFacts(
            model=model.name,
            untrained=model.untrained,
            dimension=dimension,
            device=device,
            precision=precision,
            parity=parity,
            digest=model.digest,
            runtime=f"TensorFlow {tf.__version__}",
            max_batch=max_batch,
        )

    def embed(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, dimension]``."""
        return np.asarray(self._function(tf.constant(patches)).numpy(), np.float32)

    def _try(self, precision: str) -> tuple[str, str]:
        """Switch to a lower precision if it agrees with float32; return what runs, and the finding."""
        if precision != "bfloat16":
            return self._refuse(f"{precision} refused: TensorFlow does not have it; use OpenVINO")
        exact, expected = self._function, self.embed(parity_patches())
        tf.config.optimizer.set_experimental_options({_BFLOAT16_REWRITE: True})
        self._function = _compile(self._model.forward)
        actual = self.embed(parity_patches())
        kept, found = finding(precision, expected, actual)
        if np.array_equal(expected, actual):  # nothing was rewritten: it would be float32 by another name
            kept, found = False, "bfloat16 refused: this device has no bfloat16 path for the model"
        if kept:
            return precision, found
        tf.config.optimizer.set_experimental_options({_BFLOAT16_REWRITE: False})
        self._function = exact
        return self._refuse(found)

    @staticmethod
    def _refuse(found: str) -> tuple[str, str]:
        log.warning("%s; running float32", found)
        return "float32", found


def load_savedmodel(folder: Path, name: str) -> LoadedModel:
    """Load a SavedModel folder and check that it is one that embeds patches.

    Parameters
    ----------
    name:
        The model's name for clients.

    Raises
    ------
    ModelError
        When it is not a SavedModel, or not of the signature above.
    """
    if not (folder / "saved_model.pb").is_file():
        raise ModelError(f"{folder} is not a SavedModel folder: it has no saved_model.pb.")
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises many kinds
        raise ModelError(f"{folder} cannot be loaded as a SavedModel: {reason_of(error)}.") from error
    signature = loaded.signatures.get(_SIGNATURE)
    if signature is None:
        raise ModelError(f"The SavedModel in {folder} has no signature named {_SIGNATURE}.")
    input_name = _input_name(signature, folder)
    output_name = _output_name(signature, folder)
    return LoadedModel(
        name=name,
        untrained=False,
        digest=folder_digest(folder),
        forward=lambda scaled: signature(**{input_name: scaled})[output_name],
        keep_alive=loaded,
    )


def _input_name(signature: tf.types.experimental.ConcreteFunction, folder: Path) -> str:
    inputs = signature.structured_input_signature[1]
    expected = f"one float32 input of shape [None, {PATCH_SIDE}, {PATCH_SIDE}, 3]"
    if len(inputs) != 1:
        raise ModelError(f"The SavedModel in {folder} has {len(inputs)} inputs; expected {expected}.")
    ((name, spec),) = inputs.items()
    compatible = spec.shape.is_compatible_with([None, *PATCH_SHAPE]) and (
        spec.shape.rank is None or spec.shape[0] is None
    )
    if spec.dtype != tf.float32 or not compatible:
        raise ModelError(
            f"The SavedModel in {folder} takes {spec.dtype.name} {spec.shape}; expected {expected}."
        )
    return str(name)


def _output_name(signature: tf.types.experimental.ConcreteFunction, folder: Path) -> str:
    outputs = signature.structured_outputs
    name = _OUTPUT if _OUTPUT in outputs else next(iter(outputs), None)
    if name is None or (name != _OUTPUT and len(outputs) > 1):
        raise ModelError(
            f"The SavedModel in {folder} has the outputs {sorted(outputs)}; "
            f"expected {_OUTPUT}, or a single one."
        )
    spec = outputs[name]
    if not spec.dtype.is_floating or spec.shape.rank not in (None, 2):
        raise ModelError(
            f"The SavedModel in {folder} gives {spec.dtype.name} {spec.shape}; "
            "expected one vector of floats for each patch, [None, length]."
        )
    return str(name)


def _compile(forward: Forward) -> Callable[[tf.Tensor], tf.Tensor]:
    @tf.function(input_signature=[tf.TensorSpec([None, *PATCH_SHAPE], tf.uint8)])  # type: ignore[untyped-decorator]
    def embed(patches: tf.Tensor) -> tf.Tensor:
        return tf.cast(forward(tf.cast(patches, tf.float32) / 255.0), tf.float32)

    # One trace for all batch sizes, called without TensorFlow's look-up of it: that costs half as much.
    return embed.get_concrete_function()  # type: ignore[no-any-return]


def _prepare_device() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    for gpu in gpus:
        # Else TensorFlow takes nearly all of the GPU's memory at once, also what other processes need.
        tf.config.experimental.set_memory_growth(gpu, True)
    details = tf.config.experimental.get_device_details(gpus[0])
    return f"GPU: {details.get('device_name', 'unknown')}"
