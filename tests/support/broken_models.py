"""SavedModels whose signature may say nothing wrong and that give no vector for each patch, or do not run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def build_broken(folder: Path) -> Path:
    """Build one of each kind, in folders of their names."""
    subprocess.run(
        [sys.executable, "-m", "tests.support.broken_models", str(folder)], check=True, capture_output=True
    )
    return folder


def _main(folder: str) -> None:
    import tensorflow as tf

    def pool(inputs: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.nn.avg_pool2d(inputs, (28, 14), (28, 14), "VALID"), [-1, 384])

    def runs_if(condition: tf.Operation, inputs: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([condition]):
            return pool(tf.identity(inputs))

    def column_of_one(inputs: tf.Tensor) -> tf.Tensor:
        vectors = pool(inputs)
        alone = tf.equal(tf.shape(vectors)[0], 1)
        return tf.cond(alone, lambda: tf.reshape(vectors, [-1, 1]), lambda: vectors)

    def any_rank(vectors: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.PlaceholderWithDefault(input=vectors, shape=tf.TensorShape(None))

    kinds = {
        "squeezed": lambda x: tf.squeeze(pool(x)),
        "column_of_one": column_of_one,
        "one_row": lambda x: tf.reduce_mean(pool(x), 0, keepdims=True),
        "rank_three": lambda x: any_rank(pool(x)[:, :, tf.newaxis]),
        "scalar": lambda x: any_rank(tf.reduce_mean(x)),
        "empty": lambda x: any_rank(pool(x)[:, :0]),
        "not_finite": lambda x: pool(x) / 0.0,
        "never_runs": lambda x: runs_if(tf.debugging.Assert(False, ["never runs"]), x),
        "fails_at_eight": lambda x: runs_if(tf.debugging.assert_less(tf.shape(x)[0], 8), x),
        "out_of_memory": lambda x: pool(x) + tf.reduce_sum(tf.zeros([10**6, 10**6, tf.shape(x)[0]])),
    }

    def save(kind: str, forward: Callable[[tf.Tensor], tf.Tensor]) -> None:
        module = tf.Module()
        module.call = tf.function(
            lambda inputs: {"output_0": forward(inputs)},
            input_signature=[tf.TensorSpec([None, 224, 224, 3], tf.float32, name="inputs")],
        )
        tf.saved_model.save(module, f"{folder}/{kind}", signatures={"serving_default": module.call})

    for kind, forward in kinds.items():
        save(kind, forward)


if __name__ == "__main__":
    _main(*sys.argv[1:])
