"""Multiply-adds of a TensorFlow graph as its file has it, before TensorFlow's own optimisations.

Shapes are TensorFlow's own inference, for the inputs that were really given. What is counted:
convolutions and matrix products; bias, activation and normalisation are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
UNCOUNTED = (
    *("While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase", "XlaCallModule"),
    *("CudnnRNN", "CudnnRNNV3", "BlockLSTM", "BlockLSTMV2", "GRUBlockCell", "LSTMBlockCell"),
    *(*CALLS, "QuantizedConv2D", "QuantizedMatMul"),
)
"""What computes in a way that the graph does not show."""
MOST_BYTES = 256 << 20
"""Of weights that are copied, so that a function's calls can be seen through."""
Shape = Sequence[int]


class UnknownShapeError(Exception):
    """A size that must be known to count is not."""


def function_operators(function: Any, shapes: Mapping[str, Shape]) -> list[Any]:
    """The operators of a SavedModel's signature, its inner functions' among them."""
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    size = sum(prod(each.shape) * each.dtype.size for each in function.variables)
    if size > MOST_BYTES:
        text = f"{size >> 20} MiB of weights would be copied to count them"
        raise MemoryError(f"{text}; at most {MOST_BYTES >> 20} MiB are")
    declared = function.structured_input_signature[1]
    specs = {
        name: tf.TensorSpec(shapes[name], each.dtype, name=name) for name, each in declared.items()
    }
    whole = tf.function(lambda **fed: function(**fed)).get_concrete_function(**specs)
    frozen = convert_to_constants.convert_variables_to_constants_v2(whole, lower_control_flow=False)
    return list(frozen.graph.get_operations())


def saved_operators(folder: str, signature: str, shapes: Mapping[str, Shape]) -> list[Any]:
    """The operators of a SavedModel's graph as its file has it: of the first generation, flat."""
    from tensorflow.python.saved_model import loader_impl

    metas = loader_impl.parse_saved_model(folder).meta_graphs
    meta = next(each for each in metas if "serve" in each.meta_info_def.tags)
    inputs = meta.signature_def[signature].inputs
    return graph_operators(
        meta.graph_def, {inputs[name].name: shape for name, shape in shapes.items()}
    )


def graph_operators(definition: Any, shapes: Mapping[str, Shape]) -> list[Any]:
    """The operators of a graph of the first generation, with these tensors given these shapes."""
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        kinds = {node.name: node.attr["dtype"].type for node in definition.node}
        given = {
            name: tf.compat.v1.placeholder(kinds[name.partition(":")[0]], list(shape))
            for name, shape in shapes.items()
        }
        tf.import_graph_def(definition, input_map=given, name="")
    return list(graph.get_operations())


def counted(operators: Iterable[Any]) -> tuple[int, str]:
    """(multiply-adds of all of them, by what); -1 and why where they are unknown."""
    import tensorflow as tf

    total = 0
    for operator in operators:
        if operator.type in UNCOUNTED:
            return -1, f"{operator.type} ({operator.name}) has no rule for its multiply-adds"
        rule = RULES.get(operator.type)
        if rule is None:
            continue
        try:
            total += rule(operator)
        except UnknownShapeError:
            return -1, f"no shape can be inferred around {operator.name} ({operator.type})"
    return total, f"tensorflow {tf.__version__}, shape inference"


# ------------------------------------------------------------------ rules


def _shape(tensor: Any) -> list[int]:
    if tensor.shape.rank is None or None in tensor.shape.as_list():
        raise UnknownShapeError
    return list(tensor.shape)


def _convolution(operator: Any) -> int:
    """Weights as [kernel …, in / groups, out]."""
    return prod(_shape(operator.outputs[0])) * prod(_shape(operator.inputs[1])[:-1])


def _depthwise(operator: Any) -> int:
    """Weights as [height, width, in, multiplier]."""
    return prod(_shape(operator.outputs[0])) * prod(_shape(operator.inputs[1])[:2])


def _transposed(operator: Any) -> int:
    """(sizes, weights [kernel …, out, in], what goes in): each element meets the kernel once."""
    return prod(_shape(operator.inputs[2])) * prod(_shape(operator.inputs[1])[:-1])


def _product(operator: Any) -> int:
    """[…, m, k] x […, k, n], either of them turned or not."""
    turned = any(
        key in operator.node_def.attr and operator.get_attr(key) for key in ("transpose_a", "adj_x")
    )
    left = _shape(operator.inputs[0])
    return prod(_shape(operator.outputs[0])) * left[-2 if turned else -1]


def _einsum(operator: Any) -> int:
    """Of two operands, one multiply-add for each combination of all indices; of one none."""
    if len(operator.inputs) != 2:
        return 0
    equation = operator.get_attr("equation")
    equation = equation.decode() if isinstance(equation, bytes) else equation
    sizes: dict[str, int] = {}
    for term, tensor in zip(equation.partition("->")[0].split(","), operator.inputs, strict=True):
        shape = _shape(tensor)
        names = re.findall(r"\.\.\.|\w", term)
        hidden = len(shape) - len([name for name in names if name != "..."])
        spread = [f"{n - hidden}" for n in range(hidden)]  # counted from the right: they broadcast
        every = [each for name in names for each in (spread if name == "..." else [name])]
        for name, size in zip(every, shape, strict=True):
            sizes[name] = max(size, sizes.get(name, 1))
    return prod(sizes.values())


RULES: Mapping[str, Callable[[Any], int]] = {
    **dict.fromkeys(("Conv2D", "Conv3D"), _convolution),
    "DepthwiseConv2dNative": _depthwise,
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2"), _transposed),
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _product),
    "Einsum": _einsum,
}
