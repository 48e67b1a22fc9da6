"""TensorFlow: load a SavedModel, and run any model of its signature on uint8 patches.

Path Foundation's SavedModel has the signature ``serving_default``: one float32 input
``[None, 224, 224, 3]`` with values 0..1, output ``output_0`` ``[None, 384]``. Any model with such
an input and one vector output runs, whatever its vector's length.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from model.batching import bucket_sizes
from model.encoder import PATCH_SHAPE, EncoderFacts, PixelBatch, Vectors
from model.runtimes.import_tensorflow import tf
from model.runtimes.parity import PARITY_PATCHES, finding, parity_patches
from model.runtimes.savedmodel import Forward, LoadedModel
from model.runtimes.warming import warm

CPU_MAX_BATCH, GPU_MAX_BATCH = 16, 128
"""Default largest batches, in patches: a CPU gains nothing from more, and a batch is what a small
request waits for."""

_BFLOAT16_REWRITE = "auto_mixed_precision_onednn_bfloat16"

log = logging.getLogger(__name__)


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
