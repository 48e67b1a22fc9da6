"""The built-in encoder: Path Foundation's architecture, ViT-S/16, with seeded random weights.

It is untrained: its vectors are a fixed function of the pixels and mean nothing about tissue. It
serves to try the service, to test it and to measure its speed (about 9.2 GFLOP a patch).
"""

from __future__ import annotations

from pathlib import Path

from model.encoder import PATCH_SHAPE
from model.runtimes.import_tensorflow import tf
from model.runtimes.savedmodel import OUTPUT, SIGNATURE, LoadedModel
from model.runtimes.seeded_weights import BLOCKS, HEADS, PATCH, TOKENS, WIDTH, SeededWeights

NAME = "vit-s16-untrained"

_EPSILON = 1e-6
_HEAD = WIDTH // HEADS


class VisionTransformer(tf.Module):  # type: ignore[misc]
    """ViT-S/16 in plain TensorFlow: Keras would add seconds to the start and nothing to the graph."""

    def __init__(self, weights: SeededWeights) -> None:
        super().__init__()
        self.weights = {
            name: tf.Variable(value, trainable=False, name=name) for name, value in weights.by_name.items()
        }

    def embed(self, scaled: tf.Tensor) -> tf.Tensor:
        """Map float32 ``[n, 224, 224, 3]`` in 0..1 to float32 ``[n, 384]``: the class token's numbers."""
        w = self.weights
        x = tf.nn.conv2d(scaled, w["embed/kernel"], strides=PATCH, padding="VALID")
        x = tf.reshape(tf.nn.bias_add(x, w["embed/bias"]), [-1, TOKENS, WIDTH])
        first = tf.repeat(w["tokens/class_token"], tf.shape(x)[0], axis=0)
        x = tf.concat([first, x], axis=1) + w["tokens/position"]
        for number in range(BLOCKS):
            block = f"block{number}"
            x = x + self._attention(self._norm(x, f"{block}/norm1"), block)
            x = x + self._mlp(self._norm(x, f"{block}/norm2"), block)
        return self._norm(x, "norm")[:, 0]

    def _norm(self, x: tf.Tensor, name: str) -> tf.Tensor:
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        gamma, beta = self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"]
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, _EPSILON)

    def _attention(self, x: tf.Tensor, block: str) -> tf.Tensor:
        query, key, value = (self._heads(x, f"{block}/{name}") for name in ("query", "key", "value"))
        scores = tf.nn.softmax(tf.einsum("bqhd,bkhd->bhqk", query, key) * _HEAD**-0.5)
        x = tf.reshape(tf.einsum("bhqk,bkhd->bqhd", scores, value), [-1, TOKENS + 1, WIDTH])
        kernel, bias = self.weights[f"{block}/output/kernel"], self.weights[f"{block}/output/bias"]
        return tf.nn.bias_add(tf.matmul(x, kernel), bias)

    def _heads(self, x: tf.Tensor, name: str) -> tf.Tensor:
        product = tf.matmul(x, self.weights[f"{name}/kernel"])
        bias = tf.reshape(self.weights[f"{name}/bias"], [HEADS, _HEAD])
        return tf.reshape(product, [-1, TOKENS + 1, HEADS, _HEAD]) + bias

    def _mlp(self, x: tf.Tensor, block: str) -> tf.Tensor:
        hidden = tf.nn.gelu(self._dense(x, f"{block}/mlp1"), approximate=False)
        return self._dense(hidden, f"{block}/mlp2")

    def _dense(self, x: tf.Tensor, name: str) -> tf.Tensor:
        kernel, bias = self.weights[f"{name}/kernel"], self.weights[f"{name}/bias"]
        inputs, outputs = kernel.shape
        product = tf.matmul(tf.reshape(x, [-1, inputs]), kernel)
        return tf.nn.bias_add(tf.reshape(product, [-1, TOKENS + 1, outputs]), bias)


def load_builtin(weights: SeededWeights) -> LoadedModel:
    """Build the untrained ViT-S/16."""
    model = VisionTransformer(weights)
    return LoadedModel(
        name=NAME, untrained=True, digest=weights.digest, forward=model.embed, keep_alive=model
    )


def export_builtin(model: LoadedModel, folder: Path) -> None:
    """Write the built-in encoder as a SavedModel of Path Foundation's signature."""
    serve = tf.function(
        lambda scaled: {OUTPUT: model.forward(scaled)},
        input_signature=[tf.TensorSpec([None, *PATCH_SHAPE], tf.float32, name="scaled")],
    )
    tf.saved_model.save(model.keep_alive, str(folder), signatures={SIGNATURE: serve})
