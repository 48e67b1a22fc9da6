"""The built-in encoder's architecture with one block, larger tokens and less width: a fraction of the work.

As a SavedModel that fails where a patch is poison (``tests.support.models``), built in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.models import POISON

SIZE = {"PATCH": 32, "WIDTH": 96, "BLOCKS": 1, "HEADS": 3, "MLP": 384, "TOKENS": (224 // 32) ** 2}
DIMENSION = SIZE["WIDTH"]


def build_small_vit(folder: Path) -> Path:
    """Build it in a folder, which is returned."""
    command = [sys.executable, "-m", "tests.support.small_vit", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def _main(folder: str) -> None:
    from model.runtimes import seeded_weights

    vars(seeded_weights).update(SIZE)
    import tensorflow as tf

    from model.runtimes import vit
    from model.runtimes.savedmodel import OUTPUT, SIGNATURE

    built = vit.load_builtin(seeded_weights.seeded_weights())

    def poisonable(scaled: tf.Tensor) -> dict[str, tf.Tensor]:
        red = tf.cast(tf.round(scaled[:, 0, 0, 0] * 255), tf.int32)
        with tf.control_dependencies([tf.debugging.assert_none_equal(red, POISON)]):
            return {OUTPUT: built.forward(tf.identity(scaled))}

    spec = tf.TensorSpec([None, 224, 224, 3], tf.float32, name="scaled")
    tf.saved_model.save(
        built.keep_alive, folder, signatures={SIGNATURE: tf.function(poisonable, input_signature=[spec])}
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
