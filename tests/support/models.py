"""SavedModels for tests, with Path Foundation's signature: built by TensorFlow in a process of its own.

The probe is nearly free and linear in the pixels: it averages the patch over a grid of 8 x 16 cells,
3 colours each, which makes 384 numbers in 0..1. One wrong level in one pixel shows.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import tensorflow as tf

    Forward = Callable[[tf.Tensor], tf.Tensor]
    Outputs = Callable[[tf.Tensor], dict[str, tf.Tensor]]

ROWS, COLUMNS = 8, 16
DIMENSION = ROWS * COLUMNS * 3
TOLERANCE = 2e-6
"""What float32 sums may differ by; one level in one pixel of a cell changes its mean by 1e-5."""

POISON = 251
"""A patch whose first pixel's red is this makes the poisonable probe fail."""


def probe(patches: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return what the probe model gives for uint8 ``[n, 224, 224, 3]``."""
    cells = patches.reshape(len(patches), ROWS, 224 // ROWS, COLUMNS, 224 // COLUMNS, 3)
    means: npt.NDArray[np.float64] = cells.mean(axis=(2, 4)) / 255
    return means.reshape(len(patches), DIMENSION).astype(np.float32)


def build(folder: Path, *kinds: str) -> Path:
    """Build SavedModels of these kinds, or of all, in folders of their names, by one TensorFlow."""
    command = [sys.executable, "-m", "tests.support.models", str(folder), *kinds]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def _main(folder: str, *wanted: str) -> None:
    import tensorflow as tf

    def pool(inputs: tf.Tensor) -> tf.Tensor:
        height, width = 224 // ROWS, 224 // COLUMNS
        columns = tf.nn.avg_pool2d(
            inputs, (height, 1), (height, 1), "VALID"
        )  # two steps: short sums are exact
        cells = tf.nn.avg_pool2d(columns, (1, width), (1, width), "VALID")
        return tf.reshape(cells, [-1, DIMENSION])

    def poisonable(inputs: tf.Tensor) -> tf.Tensor:
        red = tf.cast(tf.round(inputs[:, 0, 0, 0] * 255), tf.int32)
        with tf.control_dependencies([tf.debugging.assert_none_equal(red, POISON)]):
            return pool(tf.identity(inputs))

    def slow(inputs: tf.Tensor) -> tf.Tensor:
        """Take about a tenth of a second a patch, in the graph."""
        matrix = tf.random.stateless_normal([1024, 1024], [1, 2])
        total = tf.constant(0.0)
        for _ in tf.range(12 * tf.shape(inputs)[0]):
            total += tf.reduce_sum(tf.linalg.matmul(matrix + total * 0, matrix)) * 0
        return pool(inputs) + total

    def one(forward: Forward, output: str = "output_0") -> Outputs:
        return lambda inputs: {output: forward(inputs)}

    def takes(shape: list[int | None], kind: tf.DType) -> tf.TensorSpec:
        return tf.TensorSpec(shape, kind, name="inputs")

    scaled = takes([None, 224, 224, 3], tf.float32)
    kinds = {
        "probe": (scaled, one(pool)),
        "poisonable": (scaled, one(poisonable)),
        "slow": (scaled, one(slow)),
        "other_output_name": (scaled, one(lambda inputs: pool(inputs)[:, :7], "embedding")),
        "wrong_size": (
            takes([None, 96, 96, 3], tf.float32),
            one(lambda inputs: tf.reduce_mean(inputs, [1, 2])),
        ),
        "wrong_type": (
            takes([None, 224, 224, 3], tf.int32),
            one(lambda inputs: pool(tf.cast(inputs, tf.float32))),
        ),
        "wrong_rank": (scaled, one(lambda inputs: inputs * 1.0)),
        "fixed_batch": (takes([4, 224, 224, 3], tf.float32), one(pool)),
        "two_outputs": (scaled, lambda inputs: {"a": pool(inputs), "b": pool(inputs)}),
        "no_signature": (scaled, one(pool)),
    }
    for kind in wanted or kinds:
        spec, outputs = kinds[kind]
        module = tf.Module()
        module.call = tf.function(outputs, input_signature=[spec])
        signature = "other" if kind == "no_signature" else "serving_default"
        tf.saved_model.save(module, f"{folder}/{kind}", signatures={signature: module.call})


if __name__ == "__main__":
    _main(*sys.argv[1:])
