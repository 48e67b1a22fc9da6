"""Any model that embeds patches, in TensorFlow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np

from model.batching import bucket_sizes
from model.encoder import PATCH_SHAPE, EncoderFacts, PixelBatch, Vectors, reason_of
from model.runtimes.alone import EachAlone, Embed, cores, require_same_again
from model.runtimes.bfloat16 import NotRewritten, in_bfloat16
from model.runtimes.import_tensorflow import tf
from model.runtimes.largest_batch import largest_batch
from model.runtimes.parity import PARITY_PATCHES, finding, parity_patches
from model.runtimes.savedmodel import Forward, LoadedModel
from model.runtimes.warming import warm

CPU_MAX_BATCH = 16
"""Default largest batch on a CPU, in patches: it gains nothing from more, and a batch is what a small request
waits for."""

_ONEDNN_REWRITE = "auto_mixed_precision_onednn_bfloat16"
_ALIGNMENT = 64
"""Bytes: TensorFlow's kernels may load as many at once from a tensor's beginning."""

_TIMED = 3

log = logging.getLogger(__name__)

Function = Callable[[tf.Tensor], tf.Tensor]
"""uint8 ``[n, 224, 224, 3]`` to float32 ``[n, dimension]``."""

Lowering = Callable[[Forward], Function]
"""Compiles a model so that it computes in bfloat16; raises NotRewritten where that cannot be."""


class TensorFlowEncoder:
    """Runs a model in TensorFlow: pixels go to the device as uint8, cast and scaled in the graph.

    Parameters
    ----------
    precision:
        ``float32``, or ``bfloat16``, which is kept only if its vectors agree with float32's.
    max_batch:
        Largest batch in patches; by the device when not given.
    lower:
        How bfloat16 is made; by the device when not given.
    reproducible:
        Whether each patch is embedded alone. TensorFlow was set for it before the model was made (see
        ``determinism``).

    Raises
    ------
    ModelError
        When the model does not run, or gives no vector for each patch.
    """

    def __init__(
        self,
        model: LoadedModel,
        precision: str,
        max_batch: int | None = None,
        lower: Lowering | None = None,
        *,
        reproducible: bool = False,
    ) -> None:
        self._model = model
        device = _prepare_device()
        self._on_cpu = device == "CPU"
        self._embed: Embed = self._together
        if reproducible:
            # A device that is no CPU runs one batch after the other anyway.
            self._embed = EachAlone([self._together] * (cores() if self._on_cpu else 1))
            max_batch = max_batch or max(CPU_MAX_BATCH, cores())
        self._function = _compile(model.forward)
        dimension = warm(self.embed, (PARITY_PATCHES, 1), model.name)
        parity = ""
        if precision != "float32":
            precision, parity = self._try(precision, lower or (_by_onednn if self._on_cpu else _by_rewrite))
        max_batch = max_batch or (CPU_MAX_BATCH if self._on_cpu else largest_batch(self._seconds_of))
        warm(self.embed, self._sizes_to_warm(max_batch), model.name, dimension)
        if reproducible:
            require_same_again(self.embed, model.name)
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
            reproducible=reproducible,
        )

    def embed(self, patches: PixelBatch) -> Vectors:
        """Map uint8 ``[n, 224, 224, 3]`` to float32 ``[n, dimension]``."""
        return self._embed(patches)

    def _together(self, patches: PixelBatch) -> Vectors:
        return np.asarray(self._function(_tensor_of(patches)).numpy(), np.float32)

    def _sizes_to_warm(self, max_batch: int) -> tuple[int, ...]:
        """Return the sizes to run before the first request, besides those of the parity check.

        A GPU chooses its kernels by the size, and takes memory for each, so all are run. On a CPU the first
        batch prepares the graph for all sizes, and the largest tells whether there is memory.
        """
        sizes = bucket_sizes(max_batch)
        return sizes[-1:] if self._on_cpu else sizes

    def _seconds_of(self, size: int) -> float | None:
        patches, taken = parity_patches(size), []
        try:
            self.embed(patches)
            for _ in range(_TIMED):
                started = time.perf_counter()
                self.embed(patches)
                taken.append(time.perf_counter() - started)
        except tf.errors.ResourceExhaustedError:
            return None
        return min(taken)

    def _try(self, precision: str, lower: Lowering) -> tuple[str, str]:
        """Switch to a lower precision if it agrees with float32; return what runs, and the finding."""
        if precision != "bfloat16":
            return self._refuse(f"{precision} refused: TensorFlow does not have it; use OpenVINO")
        exact, expected = self._function, self.embed(parity_patches())
        try:
            self._function = lower(self._model.forward)
            actual = self.embed(parity_patches())
            kept, found = finding(precision, expected, actual)
            if np.array_equal(expected, actual):  # nothing was rewritten: it would be float32 by another name
                kept, found = False, "bfloat16 refused: this device has no bfloat16 path for the model"
        except NotRewritten as error:
            kept, found = False, f"bfloat16 refused: {error}"
        except Exception as error:  # a device without the kernels; TensorFlow raises many kinds
            kept, found = False, f"bfloat16 refused: it does not run, {reason_of(error)}"
        if kept:
            return precision, found
        tf.config.optimizer.set_experimental_options({_ONEDNN_REWRITE: False})
        self._function = exact
        return self._refuse(found)

    @staticmethod
    def _refuse(found: str) -> tuple[str, str]:
        log.warning("%s; running float32", found)
        return "float32", found


def _compile(forward: Forward) -> Function:
    @tf.function(input_signature=[tf.TensorSpec([None, *PATCH_SHAPE], tf.uint8)])  # type: ignore[untyped-decorator]
    def embed(patches: tf.Tensor) -> tf.Tensor:
        return tf.cast(forward(tf.cast(patches, tf.float32) / 255.0), tf.float32)

    # One trace for all batch sizes, called without TensorFlow's look-up of it: that costs half as much.
    return embed.get_concrete_function()  # type: ignore[no-any-return]


def _by_onednn(forward: Forward) -> Function:
    """Let oneDNN rewrite the graph when it first runs: for CPUs, those with bfloat16."""
    tf.config.optimizer.set_experimental_options({_ONEDNN_REWRITE: True})
    return _compile(forward)


def _by_rewrite(forward: Forward) -> Function:
    return in_bfloat16(_compile(forward))  # type: ignore[no-any-return]


def _tensor_of(patches: PixelBatch) -> tf.Tensor:
    """Return a batch as a tensor on the CPU, over the same memory where TensorFlow can take it.

    Nobody writes to the batch before it has been embedded. ``tf.constant`` would copy it, twice where NumPy's
    memory is not aligned as TensorFlow wants it.
    """
    flags = patches.flags
    if flags.c_contiguous and flags.writeable and patches.ctypes.data % _ALIGNMENT == 0:
        return tf.experimental.dlpack.from_dlpack(patches.__dlpack__())
    return tf.constant(patches)


def _prepare_device() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    for gpu in gpus:
        # Else TensorFlow takes nearly all of the GPU's memory at once, also what other processes need.
        tf.config.experimental.set_memory_growth(gpu, True)
    details = tf.config.experimental.get_device_details(gpus[0])
    return f"GPU: {details.get('device_name', 'unknown')}"
