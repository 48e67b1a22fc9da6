"""bfloat16 by a rewrite of the graph, as a GPU runs it; here the same graph runs on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model.runtimes.bfloat16 import NotRewritten, in_bfloat16
from model.runtimes.load import model_in_tensorflow
from model.runtimes.parity import min_cosine, parity_patches
from model.runtimes.savedmodel import LoadedModel
from model.runtimes.tensorflow import TensorFlowEncoder
from model.weights.locate import ModelFolder
from tests.conftest import ModelFolders

RANDOM = np.random.RandomState(7)
KERNEL = RANDOM.standard_normal((12, 8)).astype(np.float32) / 4
BIAS = RANDOM.standard_normal(8).astype(np.float32)


class Layers(tf.Module):  # type: ignore[misc]
    """Twelve means of a patch, then products of the kinds that are in an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.bias = tf.Variable(KERNEL), tf.Variable(BIAS)
        self.back = tf.Variable(KERNEL.T)

    def means(self, scaled: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.nn.avg_pool2d(scaled, 112, 112, "VALID"), [-1, 12])

    def embed(self, scaled: tf.Tensor) -> tf.Tensor:
        x = self.means(scaled)
        hidden = tf.nn.gelu(tf.nn.bias_add(tf.matmul(x, self.kernel), self.bias))
        hidden = tf.reshape(hidden, [-1, 2, 4])
        mixed = tf.einsum("nij,nkj->nik", tf.nn.softmax(hidden), hidden)
        return x + tf.matmul(tf.concat([hidden, mixed], -1)[:, 0, :4], self.back[:4])


def model_of(forward: Callable[[tf.Tensor], tf.Tensor], keep_alive: object = None) -> LoadedModel:
    return LoadedModel("layers", untrained=True, digest="", forward=forward, keep_alive=keep_alive)


def concrete(forward: Callable[[tf.Tensor], tf.Tensor]) -> tf.types.experimental.ConcreteFunction:
    spec = tf.TensorSpec([None, 224, 224, 3], tf.float32)
    return tf.function(forward, input_signature=[spec]).get_concrete_function()


def rounded(values: np.ndarray) -> np.ndarray:
    return np.asarray(tf.cast(tf.cast(values, tf.bfloat16), tf.float32))


def test_a_product_takes_rounded_numbers_and_gives_float32() -> None:
    layers = Layers()
    scaled = parity_patches(3).astype(np.float32) / 255
    lowered = in_bfloat16(concrete(lambda x: tf.matmul(layers.means(x), layers.kernel)))(tf.constant(scaled))
    assert lowered.dtype == tf.float32
    product = rounded(layers.means(scaled).numpy()) @ rounded(KERNEL)
    np.testing.assert_allclose(lowered, product, rtol=2e-2, atol=2e-2)
    np.testing.assert_array_equal(lowered, rounded(lowered.numpy()))


def types_of(function: tf.types.experimental.ConcreteFunction) -> dict[str, set[tf.DType]]:
    found: dict[str, set[tf.DType]] = {}
    for operation in function.graph.get_operations():
        if operation.outputs and not operation.name.endswith("Shape"):
            found.setdefault(operation.type, set()).add(operation.outputs[0].dtype)
    return found


def test_what_lies_between_products_is_bfloat16_and_what_meets_float32_is_not() -> None:
    layers = Layers()
    types = types_of(in_bfloat16(concrete(layers.embed)))
    for between in ("MatMul", "Einsum", "BiasAdd", "Erfc", "Softmax", "ConcatV2"):
        assert types[between] == {tf.bfloat16}, between
    assert types["AvgPool"] == {tf.float32}
    assert types["AddV2"] == {tf.float32}
    assert not {"VarHandleOp", "ReadVariableOp", "PartitionedCall"} & set(types)
    vectors = in_bfloat16(concrete(layers.embed))(tf.constant(parity_patches(2).astype(np.float32) / 255))
    assert vectors.dtype == tf.float32


def test_variables_are_rounded_once_and_not_in_every_batch() -> None:
    layers = Layers()
    graph = in_bfloat16(concrete(lambda x: tf.matmul(layers.means(x), layers.kernel))).graph
    (product,) = (operation for operation in graph.get_operations() if operation.type == "MatMul")
    assert product.inputs[1].op.type == "Const"
    assert product.inputs[1].dtype == tf.bfloat16


def test_a_loop_in_the_model_stays_as_it_is() -> None:
    layers = Layers()

    def looped(scaled: tf.Tensor) -> tf.Tensor:
        x = tf.matmul(layers.means(scaled), layers.kernel)
        return tf.while_loop(lambda n, _: n < 3, lambda n, x: (n + 1, x + 1.0), (0, x))[1]

    scaled = tf.constant(parity_patches(2).astype(np.float32) / 255)
    np.testing.assert_allclose(in_bfloat16(concrete(looped))(scaled), looped(scaled), atol=2e-2)


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: tf.reduce_mean(x, [1, 2]),
        lambda x: tf.cast(tf.matmul(tf.cast(tf.reduce_mean(x, [1, 2]), tf.float64), np.eye(3)), tf.float32),
    ],
)
def test_a_model_without_a_product_in_float32_is_not_rewritten(
    forward: Callable[[tf.Tensor], tf.Tensor],
) -> None:
    with pytest.raises(NotRewritten, match="no product in float32"):
        in_bfloat16(concrete(forward))


def lower(forward: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    spec = tf.TensorSpec([None, 224, 224, 3], tf.uint8)
    pixels = tf.function(lambda x: forward(tf.cast(x, tf.float32) / 255.0), input_signature=[spec])
    return in_bfloat16(pixels.get_concrete_function())  # type: ignore[no-any-return]


def test_an_encoder_keeps_the_rewritten_graph_at_parity() -> None:
    layers = Layers()
    exact = TensorFlowEncoder(model_of(layers.embed, layers), "float32", max_batch=1)
    encoder = TensorFlowEncoder(model_of(layers.embed, layers), "bfloat16", max_batch=4, lower=lower)
    assert encoder.facts.precision == "bfloat16", encoder.facts.parity
    vectors, expected = encoder.embed(parity_patches(3)), exact.embed(parity_patches(3))
    assert vectors.dtype == np.float32
    assert not np.array_equal(vectors, expected)
    assert min_cosine(expected, vectors) >= 0.9999


def test_an_encoder_runs_float32_where_the_rewritten_graph_is_too_far_off_or_does_not_run() -> None:
    layers = Layers()

    def cancels(scaled: tf.Tensor) -> tf.Tensor:
        product = tf.matmul(layers.means(scaled), layers.kernel)
        return (product - tf.matmul(layers.means(scaled) * 0.999, layers.kernel)) * 1000

    def does_not_run(forward: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
        return lambda patches: tf.debugging.assert_equal(tf.shape(patches)[0], -1, "no kernel")

    for model, lowering, words in (
        (model_of(cancels, layers), lower, "0.9999 needed"),
        (model_of(layers.means, layers), lower, "no product in float32"),
        (model_of(layers.embed, layers), does_not_run, "does not run, "),
    ):
        facts = TensorFlowEncoder(model, "bfloat16", max_batch=1, lower=lowering).facts
        assert facts.precision == "float32"
        assert facts.parity.startswith("bfloat16 refused: ")
        assert words in facts.parity


def test_the_built_in_encoder_and_savedmodels_are_rewritten_alike(
    tmp_path: Path, model_folders: ModelFolders
) -> None:
    layers = Layers()
    serve = tf.function(
        lambda inputs: {"output_0": layers.embed(inputs)},
        input_signature=[tf.TensorSpec([None, 224, 224, 3], tf.float32, name="inputs")],
    )
    tf.saved_model.save(layers, str(tmp_path / "layers"), signatures={"serving_default": serve})
    saved = model_in_tensorflow(ModelFolder(tmp_path / "layers", "layers"))
    patches = tf.constant(parity_patches(2))
    np.testing.assert_array_equal(lower(saved.forward)(patches), lower(layers.embed)(patches))
    with pytest.raises(NotRewritten):
        lower(model_in_tensorflow(ModelFolder(Path(model_folders["probe"]), "probe")).forward)
    builtin = model_in_tensorflow(None)
    exact = builtin.forward(tf.cast(patches, tf.float32) / 255)
    # A CPU without bfloat16 sums in bfloat16, over 1,536 products: no tensor core does.
    assert min_cosine(exact.numpy(), lower(builtin.forward)(patches).numpy()) > 0.99
