"""Defects for golden tiles to find: a device that breaks, other weights, a runtime that answers differently.

The models are small networks with weights, built by TensorFlow in a process of its own. While there
is a file ``dead`` beside a model's folder, one number of its vectors is 0, as of a device with a dead lane.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from model.encoder import Encoder, EncoderFacts, PixelBatch, Vectors

DEAD = "dead"


def build_drifting(folder: Path, *seeds: int) -> list[Path]:
    """Build SavedModels that differ in their weights alone, each in a folder of its own."""
    names = [str(seed) for seed in seeds]
    subprocess.run(
        [sys.executable, "-m", "tests.support.drifting", str(folder), *names], check=True, capture_output=True
    )
    return [folder / name for name in names]


class Swapped:
    """An encoder in a runtime that takes red for blue."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def facts(self) -> EncoderFacts:
        """What the encoder says of itself."""
        return self._encoder.facts

    def embed(self, patches: PixelBatch) -> Vectors:
        """Embed the patches with their channels in the wrong order."""
        return self._encoder.embed(np.ascontiguousarray(patches[..., ::-1]))


def environment(site: Path) -> dict[str, str]:
    """Return settings that make a service's encoder process run ``Swapped``; ``site`` is an empty folder."""
    (site / "sitecustomize.py").write_text(f"from {__name__} import install\n\ninstall()\n")
    return {"PYTHONPATH": f"{site}:{Path(__file__).parents[2]}"}


def install() -> None:
    """Replace the loader of models, in the encoder process."""
    if "serving.processes.encoder" not in sys.orig_argv:
        return
    from model.runtimes import load

    load_found = load.load_found
    load.load_found = lambda *given, **named: Swapped(load_found(*given, **named))


def _main(folder: str, *seeds: str) -> None:
    import tensorflow as tf

    def save(seed: int) -> None:
        random = np.random.RandomState(seed)
        module = tf.Module()
        module.first = tf.Variable(random.normal(0, 0.05, (28 * 28 * 3, 96)).astype(np.float32))
        module.second = tf.Variable(random.normal(0, 0.1, (96, 64)).astype(np.float32))

        def embed(inputs: tf.Tensor) -> tf.Tensor:
            cells = tf.reshape(tf.nn.avg_pool2d(inputs, 8, 8, "VALID"), [-1, 28 * 28 * 3])
            vectors = tf.nn.tanh(cells @ module.first) @ module.second
            # By the pixels, or TensorFlow would look once and take the answer for a constant.
            pattern = tf.where(tf.reduce_max(inputs) > 2, "", f"{folder}/{DEAD}")
            dead = tf.size(tf.io.matching_files(pattern)) > 0
            return vectors * tf.where(dead, 1 - tf.one_hot(5, 64), tf.ones(64))

        module.call = tf.function(
            lambda inputs: {"output_0": embed(inputs)},
            input_signature=[tf.TensorSpec([None, 224, 224, 3], tf.float32, name="inputs")],
        )
        tf.saved_model.save(module, f"{folder}/{seed}", signatures={"serving_default": module.call})

    for seed in seeds:
        save(int(seed))


if __name__ == "__main__":
    _main(*sys.argv[1:])
