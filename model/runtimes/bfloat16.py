"""bfloat16 by a rewrite of the graph: float32 in and out, products in between in bfloat16.

For GPUs. TensorFlow's own rewrites (``auto_mixed_precision…``) make float16 of a GPU's operations, and
bfloat16 of a CPU's. This one is for any device that has the kernels. They decide how exact it is: a tensor
core sums products in float32; TensorFlow's kernels for CPUs without bfloat16 sum in bfloat16, which is too
coarse for most models.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from model.runtimes.import_tensorflow import convert_variables_to_constants_v2, tf

_PRODUCTS = frozenset(
    {"MatMul", "BatchMatMul", "BatchMatMulV2", "Einsum", "Conv2D", "DepthwiseConv2dNative", "Conv3D"}
)
"""What is worth it: a product of bfloat16 is summed in float32 on a tensor core, several times as fast."""

_BETWEEN = frozenset(
    {"Reshape", "Transpose", "Squeeze", "ExpandDims", "Identity", "StridedSlice", "Slice", "Split", "SplitV"}
    | {"Unpack", "Pack", "ConcatV2"}
    | {"BiasAdd", "Add", "AddV2", "Sub", "Mul", "Neg", "Erf", "Erfc", "Tanh", "Sigmoid", "Relu", "Softmax"}
)
"""What stays in bfloat16 between two products, where all that it takes is in bfloat16 or constant: it
would be rounded anyway. Sums with float32, such as a transformer's residual stream, and norms are float32."""

_SUFFIX = {tf.bfloat16: "/in_bfloat16", tf.float32: "/in_float32"}


class NotRewritten(Exception):
    """The graph cannot be rewritten; the text says why, without a full stop."""


def in_bfloat16(
    function: tf.types.experimental.ConcreteFunction,
) -> tf.types.experimental.ConcreteFunction:
    """Return a function of one tensor with its products in bfloat16.

    Variables become constants, rounded once.

    Parameters
    ----------
    function:
        Of one input and one output, neither of them bfloat16.

    Raises
    ------
    NotRewritten
        When there is no product in float32, or TensorFlow cannot inline the graph.
    """
    try:
        frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    except Exception as error:  # TensorFlow raises many kinds, as for tables and graphs beyond 2 GB
        raise NotRewritten(f"its variables cannot be made constants ({type(error).__name__})") from error
    (taken,), (given,) = frozen.inputs, frozen.outputs
    lowered = _lowered(frozen.graph, given.op)
    if not lowered:
        raise NotRewritten("the model has no product in float32")
    graph_def = _rewritten(frozen.graph, given.op, lowered)

    @tf.function(input_signature=[tf.TensorSpec(taken.shape, taken.dtype)])  # type: ignore[untyped-decorator]
    def run(tensor: tf.Tensor) -> tf.Tensor:
        (result,) = tf.graph_util.import_graph_def(
            graph_def, input_map={taken.name: tensor}, return_elements=[given.name], name=""
        )
        return tf.cast(result, given.dtype)  # the product itself may be what is returned

    return run.get_concrete_function()


def _lowered(graph: tf.Graph, last: tf.Operation) -> set[str]:
    """Return the names of the operations that are to run in bfloat16."""
    order = list(_in_order(graph, last))
    constant: set[str] = set()
    able: set[str] = set()
    for operation in order:
        sources = {tensor.op.name for tensor in operation.inputs}
        if operation.type == "Const" or (sources and sources <= constant):
            constant.add(operation.name)
        elif operation.type in _PRODUCTS | _BETWEEN and operation.get_attr("T") == tf.float32:
            floats = {tensor.op.name for tensor in operation.inputs if tensor.dtype == tf.float32}
            if operation.type in _PRODUCTS or floats <= able | constant:
                able.add(operation.name)
    useful: set[str] = set()
    for operation in reversed(order):
        if operation.name in useful or (operation.type in _PRODUCTS and operation.name in able):
            useful |= {operation.name, *(tensor.op.name for tensor in operation.inputs)} & able
    return able & useful


def _rewritten(graph: tf.Graph, last: tf.Operation, lowered: set[str]) -> tf.compat.v1.GraphDef:
    """Return the part of a graph that an operation needs, with casts wherever the type changes."""
    whole = graph.as_graph_def()
    # Bodies of loops and conditions are functions, which stay as they are.
    rewritten = tf.compat.v1.GraphDef(versions=whole.versions, library=whole.library)
    casts: set[str] = set()
    for operation in _in_order(graph, last):
        node = rewritten.node.add()
        node.CopyFrom(operation.node_def)
        wanted = tf.bfloat16 if operation.name in lowered else tf.float32
        if wanted == tf.bfloat16:
            node.attr["T"].type = tf.bfloat16.as_datatype_enum
        for number, tensor in enumerate(operation.inputs):
            has = tf.bfloat16 if tensor.op.name in lowered else tf.float32
            if tensor.dtype != tf.float32 or has == wanted:
                continue
            cast = f"{tensor.op.name}/{tensor.value_index}{_SUFFIX[wanted]}"
            node.input[number] = cast
            if cast not in casts:
                casts.add(cast)
                _add_cast(rewritten, cast, tensor, wanted)
    return rewritten


def _add_cast(graph: tf.compat.v1.GraphDef, name: str, tensor: tf.Tensor, wanted: tf.DType) -> None:
    value = _constant(tensor) if wanted == tf.bfloat16 else None
    node = graph.node.add(name=name)
    if value is not None:  # rounded here, and once
        node.op = "Const"
        node.attr["dtype"].type = wanted.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.astype(wanted.as_numpy_dtype)))
        return
    node.op = "Cast"
    node.input.append(tensor.name.removesuffix(":0"))
    node.attr["SrcT"].type = (tf.float32 if wanted == tf.bfloat16 else tf.bfloat16).as_datatype_enum
    node.attr["DstT"].type = wanted.as_datatype_enum


def _constant(tensor: tf.Tensor) -> npt.NDArray[np.float32] | None:
    """Return a tensor's value if it is a constant: also one that was a variable, which is then read."""
    while tensor.op.type == "Identity":
        (tensor,) = tensor.op.inputs
    value: npt.NDArray[np.float32] | None = tf.get_static_value(tensor)
    return value


def _in_order(graph: tf.Graph, last: tf.Operation) -> Iterator[tf.Operation]:
    """Yield the operations that one needs, each after those that it takes something from."""
    needed: set[str] = set()
    open_ends = [last]
    while open_ends:
        operation = open_ends.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            open_ends += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    # A graph keeps its operations in the order in which they were made, and what is taken was made before.
    yield from (operation for operation in graph.get_operations() if operation.name in needed)
