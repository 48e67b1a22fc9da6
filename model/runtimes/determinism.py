"""TensorFlow set so that an operation on the same numbers gives the same bits again."""

from __future__ import annotations

from model.encoder import Mend, ModelError
from model.runtimes.import_tensorflow import tf


def set_reproducible() -> None:
    """Let each operation of this process run in one thread, and by a kernel that is deterministic.

    Several threads share a sum by how many they are. Operations that have no deterministic kernel fail.

    Raises
    ------
    ModelError
        When TensorFlow has been used in this process before: its threads are there for good.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError as error:
        raise ModelError(
            "TensorFlow runs in this process already, with other threads than reproducible vectors need.",
            Mend.REPRODUCIBLE,
        ) from error
    tf.config.experimental.enable_op_determinism()
