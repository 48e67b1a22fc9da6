"""SavedModels for tests, with Path Foundation's signature: built by TensorFlow in a process of its own.

The probe is nearly free and linear in the pixels: it averages the patch over a grid of 8 x 16 cells,
3 colours each, which makes 384 numbers in 0..1. One wrong level in one pixel shows.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROWS, COLUMNS = 8, 16
DIMENSION = ROWS * COLUMNS * 3
TOLERANCE = 2e-6
"""What float32 sums may differ by; one level in one pixel of a cell changes its mean by 1e-5."""

POISON = 251
"""A patch whose first pixel's red is this makes the poisonable probe fail."""

KINDS = ("probe", "poisonable", "slow", "other_output_name", "wrong_size", "wrong_type", "wrong_rank",
         "fixed_batch", "no_signature", "two_outputs")  # fmt: skip
"""Names of the SavedModels that there are."""


def probe(patches: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return what the probe model gives for uint8 ``[n, 224, 224, 3]``."""
    cells = patches.reshape(len(patches), ROWS, 224 // ROWS, COLUMNS, 224 // COLUMNS, 3)
    means: npt.NDArray[np.float64] = cells.mean(axis=(2, 4)) / 255
    return means.reshape(len(patches), DIMENSION).astype(np.float32)


def build(kind: str, folder: Path) -> Path:
    """Build a SavedModel of a kind in a folder."""
    _build({kind: folder})
    return folder


def build_all(folder: Path) -> None:
    """Build a SavedModel of every kind, each in a folder of its name: TensorFlow is loaded once for all."""
    _build({kind: folder / kind for kind in KINDS})


def _build(folders: Mapping[str, Path]) -> None:
    wanted = [f"{kind}={folder}" for kind, folder in folders.items()]
    subprocess.run([sys.executable, "-m", "tests.support.models", *wanted], check=True, capture_output=True)


def _main(kind: str, folder: str) -> None:
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

    shape = [None, 224, 224, 3]
    kinds = {
        "probe": (pool, tf.TensorSpec(shape, tf.float32), "output_0"),
        "poisonable": (poisonable, tf.TensorSpec(shape, tf.float32), "output_0"),
        "slow": (slow, tf.TensorSpec(shape, tf.float32), "output_0"),
        "other_output_name": (
            lambda inputs: pool(inputs)[:, :7],
            tf.TensorSpec(shape, tf.float32),
            "embedding",
        ),
        "wrong_size": (
            lambda inputs: tf.reduce_mean(inputs, [1, 2]),
            tf.TensorSpec([None, 96, 96, 3], tf.float32),
            "output_0",
        ),
        "wrong_type": (
            lambda inputs: pool(tf.cast(inputs, tf.float32)),
            tf.TensorSpec(shape, tf.int32),
            "output_0",
        ),
        "wrong_rank": (lambda inputs: inputs * 1.0, tf.TensorSpec(shape, tf.float32), "output_0"),
        "fixed_batch": (pool, tf.TensorSpec([4, 224, 224, 3], tf.float32), "output_0"),
    }
    module = tf.Module()
    if kind == "no_signature":
        module.call = tf.function(pool, input_signature=[tf.TensorSpec(shape, tf.float32)])
        tf.saved_model.save(module, folder, signatures={"other": module.call})
        return
    if kind == "two_outputs":
        function = tf.function(
            lambda inputs: {"a": pool(inputs), "b": pool(inputs)},
            input_signature=[tf.TensorSpec(shape, tf.float32, name="inputs")],
        )
    else:
        forward, spec, output = kinds[kind]
        function = tf.function(
            lambda inputs: {output: forward(inputs)},
            input_signature=[tf.TensorSpec(spec.shape, spec.dtype, name="inputs")],
        )
    module.call = function
    tf.saved_model.save(module, folder, signatures={"serving_default": function})


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        _main(*wanted.split("=", 1))
