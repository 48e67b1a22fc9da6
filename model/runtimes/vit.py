"""The built-in encoder: Path Foundation's architecture, ViT-S/16, with seeded random weights.

It is untrained: its vectors are a fixed function of the pixels and mean nothing about tissue. It
serves to try the service, to test it and to measure its speed (about 9.2 GFLOP a patch).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from model.encoder import PATCH_SHAPE
from model.runtimes.tensorflow import LoadedModel

NAME = "vit-s16-untrained"

_PATCH, _WIDTH, _BLOCKS, _HEADS, _MLP = 16, 384, 12, 6, 1536
_TOKENS = (PATCH_SHAPE[0] // _PATCH) ** 2
_EPSILON = 1e-6
_SEED = 16_384


class ClassTokenAndPosition(layers.Layer):  # type: ignore[misc]
    """Puts a learned class token before the patch tokens and adds learned positions."""

    def build(self, input_shape: tuple[int | None, int, int]) -> None:
        """Make the two weights for ``[n, tokens, width]``."""
        _, tokens, width = input_shape
        self.class_token = self.add_weight(shape=(1, 1, width), name="class_token")
        self.position = self.add_weight(shape=(1, tokens + 1, width), name="position")

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """Map float ``[n, tokens, width]`` to ``[n, tokens + 1, width]``."""
        first = tf.repeat(self.class_token, tf.shape(tokens)[0], axis=0)
        return tf.concat([first, tokens], axis=1) + self.position

    def compute_output_shape(self, input_shape: tuple[int | None, int, int]) -> tuple[int | None, int, int]:
        """Return the shape of ``call``'s result."""
        count, tokens, width = input_shape
        return count, tokens + 1, width


def load_builtin() -> LoadedModel:
    """Build the untrained ViT-S/16; the same weights on every machine."""
    model = _architecture()
    digest = _seed_weights(model)
    return LoadedModel(
        name=NAME,
        untrained=True,
        digest=digest,
        forward=lambda scaled: model(scaled, training=False),
        keep_alive=model,
    )


def export_builtin(model: LoadedModel, folder: Path) -> None:
    """Write the built-in encoder as a SavedModel of Path Foundation's signature."""
    assert isinstance(model.keep_alive, keras.Model)
    model.keep_alive.export(str(folder), format="tf_saved_model", verbose=False)


def _architecture() -> keras.Model:
    pixels = keras.Input(PATCH_SHAPE)
    x = layers.Conv2D(_WIDTH, _PATCH, strides=_PATCH, name="embed")(pixels)
    x = layers.Reshape((_TOKENS, _WIDTH))(x)
    x = ClassTokenAndPosition(name="tokens")(x)
    for number in range(_BLOCKS):
        x = _block(x, f"block{number}")
    x = layers.LayerNormalization(epsilon=_EPSILON, name="norm")(x)
    return keras.Model(pixels, x[:, 0], name=NAME.replace("-", "_"))


def _block(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    y = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm1")(x)
    x = x + layers.MultiHeadAttention(_HEADS, _WIDTH // _HEADS, name=f"{name}_attention")(y, y)
    y = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm2")(x)
    y = layers.Dense(_MLP, activation="gelu", name=f"{name}_mlp1")(y)
    return x + layers.Dense(_WIDTH, name=f"{name}_mlp2")(y)


def _seed_weights(model: keras.Model) -> str:
    """Fill all weights from one seed and return their hash.

    NumPy's RandomState stream is frozen by its compatibility policy, unlike Keras' initialisers.
    Kernels get a variance of 1/inputs, which keeps activations of order one through all blocks.
    """
    random = np.random.RandomState(_SEED)
    digest = hashlib.sha256()
    for weight in model.weights:
        name = weight.path.rsplit("/", 1)[-1]
        if name == "gamma":
            value = np.ones(weight.shape, np.float32)
        elif name in ("beta", "bias"):
            value = np.zeros(weight.shape, np.float32)
        else:
            scale = 0.02 if name in ("class_token", "position") else _inputs(weight) ** -0.5
            value = (random.standard_normal(weight.shape) * scale).astype(np.float32)
        weight.assign(value)
        digest.update(value.tobytes())
    return f"sha256:{digest.hexdigest()}"


def _inputs(weight: keras.Variable) -> int:
    """Return the number of inputs that one output of a kernel sums over."""
    if "attention_output" in weight.path:
        return int(np.prod(weight.shape[:2]))
    if "attention" in weight.path:
        return int(weight.shape[0])
    return int(np.prod(weight.shape[:-1]))
