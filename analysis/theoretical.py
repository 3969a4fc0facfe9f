"""What a layer has to compute and to move at least, from its operator and shapes alone.

FLOPs are 2 x MAC for convolutions and matrix products: a multiplication and an addition each. Of
other operators, those of Benanza's table (arXiv 1911.06922): an element-wise one counts one a
result's element, batch normalisation two, softmax three (and, by the same counting, layer
normalisation five); pooling and reductions count one an element that goes in, which is less than
their table has, because a profile does not tell the window. Operators that only move data compute
nothing. What has no rule, or lacks a shape, is None with the reason, never 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from bus.messages import TensorSpec

Shape = Sequence[int]
Shapes = Sequence[Shape]

ITEM_BYTES = {"float64": 8, "int64": 8, "uint64": 8, "complex64": 8, "float32": 4, "int32": 4}
ITEM_BYTES |= {"uint32": 4, "float16": 2, "bfloat16": 2, "int16": 2, "uint16": 2}
ITEM_BYTES |= {"int8": 1, "uint8": 1, "bool": 1, "f64": 8, "f32": 4, "s32": 4, "f16": 2, "bf16": 2}
ITEM_BYTES |= {"s8": 1, "u8": 1, "float8_e4m3fn": 1, "float8_e5m2": 1}


class Work(msgspec.Struct, frozen=True):
    """What one run of a layer takes. macs: of products and convolutions, of which flops are twice.

    why: why macs or flops are not known.
    """

    macs: int | None = None
    flops: int | None = None
    why: str = ""


def work_of(operator: str, inputs: Shapes, outputs: Shapes) -> Work:
    """The multiply-adds and FLOPs of one layer: as ONNX, PyTorch or TensorFlow name operators."""
    name = plain(operator)
    if name in PRODUCTS:
        macs = _all_numbers(inputs) and _all_numbers(outputs) and PRODUCTS[name](inputs, outputs)
        if macs is None or isinstance(macs, bool):
            return Work(why=f"the shapes that {operator} needs are not recorded")
        return Work(macs, 2 * macs)
    if name in MOVES:
        return Work(0, 0)
    if name in EACH_RESULT:
        if not outputs or not _all_numbers(outputs[:1]):
            return Work(why=f"the shape of what {operator} gives is not recorded")
        return Work(0, EACH_RESULT[name] * math.prod(outputs[0]))
    if name in EACH_INPUT:
        if not inputs or not _all_numbers(inputs[:1]):
            return Work(why=f"the shape of what {operator} is given is not recorded")
        return Work(0, math.prod(inputs[0]))
    return Work(
        why=f"there is no rule for what {operator or 'an operator without a name'} computes"
    )


def result_of(operator: str, inputs: Shapes) -> list[int] | None:
    """The shape of what comes out, where a recording tells only what goes in; None: not known."""
    name = plain(operator)
    if not inputs or not inputs[0] or not _all_numbers(inputs):
        return None
    if name == "linear" and len(inputs) > 1:
        return [*inputs[0][:-1], inputs[1][0]]
    if name in ("mm", "bmm", "torch_matmul", "addmm", "baddbmm"):
        left, right = inputs[-2:] if name.endswith(("addmm", "baddbmm")) else inputs[:2]
        return [*left[:-1], right[-1]] if len(left) > 1 and len(right) > 1 else None
    if name == "scaled_dot_product_attention" and len(inputs) > 2:
        return [*inputs[0][:-1], inputs[2][-1]]
    if name in EACH_RESULT or name in ("layer_norm", "clone", "contiguous"):
        wide = max(inputs, key=len)
        others = [each for each in inputs if len(each) == len(wide)]
        return [max(sizes) for sizes in zip(*others, strict=True)]
    return None


def bytes_of(
    operator: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> int | None:
    """Compulsory traffic: every input, weight and output once; None where a shape is missing.

    A matrix product's weights that were packed when the model was opened are no input any more:
    they are counted by the sizes of what goes in and comes out.
    """
    name = plain(operator)
    if name in SAME_MEMORY or (operator.startswith("aten::") and name in VIEWS):
        return 0  # another description of the same memory
    sizes = [_size(tensor) for tensor in (*inputs, *outputs)]
    if not inputs or not outputs or None in sizes:
        return None
    total = sum(size for size in sizes if size is not None)
    matrices = [tensor for tensor in inputs if len(tensor.shape) > 1]
    if plain(operator) in ("gemm", "matmul") and len(matrices) == 1:
        depth, width = matrices[0].shape[-1], outputs[0].shape[-1]
        total += int(depth) * int(width) * ITEM_BYTES.get(matrices[0].dtype, 4)
    return total


def _size(tensor: TensorSpec) -> int | None:
    if not _all_numbers([tensor.shape]) or tensor.dtype not in ITEM_BYTES:
        return None
    return math.prod(int(size) for size in tensor.shape) * ITEM_BYTES[tensor.dtype]


def _all_numbers(shapes: Sequence[Sequence[object]]) -> bool:
    return all(isinstance(size, int) and size >= 0 for shape in shapes for size in shape)


# ------------------------------------------------------------------ products

Rule = Callable[[Shapes, Shapes], int | None]


def _convolution(inputs: Shapes, outputs: Shapes) -> int | None:
    """Weights as [out, in / groups, kernel …]."""
    if len(inputs) < 2 or not outputs or len(inputs[1]) < 3:
        return None
    return math.prod(outputs[0]) * math.prod(inputs[1][1:])


def _convolution_last(inputs: Shapes, outputs: Shapes) -> int | None:
    """Weights as [kernel …, in / groups, out], as TensorFlow has them."""
    if len(inputs) < 2 or not outputs or len(inputs[1]) < 3:
        return None
    return math.prod(outputs[0]) * math.prod(inputs[1][:-1])


def _depthwise_last(inputs: Shapes, outputs: Shapes) -> int | None:
    """Weights as [height, width, in, multiplier]."""
    if len(inputs) < 2 or not outputs or len(inputs[1]) != 4:
        return None
    return math.prod(outputs[0]) * math.prod(inputs[1][:2])


def _transposed(inputs: Shapes, outputs: Shapes) -> int | None:
    """Each element that goes in meets the kernel once for each of its group's outputs."""
    if len(inputs) < 2 or len(inputs[1]) < 3:
        return None
    return math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _product(inputs: Shapes, outputs: Shapes) -> int | None:
    """[…, m, k] x [k, n]: by what comes out, since packed weights are no input any more."""
    if not inputs or not outputs or not inputs[0] or not outputs[0]:
        return None
    first, made = inputs[0], outputs[0]
    is_turned = len(first) == len(made) == 2 and first[0] != made[0] == first[1]
    return math.prod(made) * (first[0] if is_turned else first[-1])


def _linear(inputs: Shapes, outputs: Shapes) -> int | None:
    """x […, in] with weights [out, in]."""
    if len(inputs) < 2 or len(inputs[1]) != 2:
        return None
    return math.prod(inputs[0]) * inputs[1][0]


def _two(inputs: Shapes, outputs: Shapes) -> int | None:
    """[…, m, k] x […, k, n]; what only one of them has several of is repeated."""
    if len(inputs) < 2 or not inputs[0] or not inputs[1]:
        return None
    left, right = inputs[0], inputs[1]
    width = right[-1] if len(right) > 1 else 1
    rows = math.prod(left[:-1])
    return max(rows, math.prod(right[:-2]) * (left[-2] if len(left) > 1 else 1)) * left[-1] * width


def _added(inputs: Shapes, outputs: Shapes) -> int | None:
    """What is added comes first."""
    return _two(inputs[1:], outputs)


def _attention(inputs: Shapes, outputs: Shapes) -> int | None:
    """softmax(Q K') V with [batch, heads, length, size]: two products."""
    if len(inputs) < 3 or any(len(each) < 2 for each in inputs[:3]):
        return None
    query, key, value = inputs[:3]
    pairs = math.prod(query[:-1]) * key[-2]
    return pairs * (query[-1] + value[-1])


PRODUCTS: Mapping[str, Rule] = {
    # ONNX and ONNX Runtime
    **dict.fromkeys(("conv", "qlinearconv", "convinteger", "nhwcfusedconv"), _convolution),
    **dict.fromkeys(("gemm", "matmul", "matmulinteger", "qlinearmatmul", "fusedmatmul"), _product),
    "convtranspose": _transposed,
    # PyTorch
    **dict.fromkeys(
        ("conv1d", "conv2d", "conv3d", "convolution", "mkldnn_convolution", "cudnn_convolution"),
        _convolution,
    ),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    "linear": _linear,
    **dict.fromkeys(("mm", "bmm", "torch_matmul"), _two),
    **dict.fromkeys(("addmm", "baddbmm"), _added),
    "scaled_dot_product_attention": _attention,
    # TensorFlow
    **dict.fromkeys(("tf_conv2d", "tf_conv3d"), _convolution_last),
    "depthwiseconv2dnative": _depthwise_last,
    **dict.fromkeys(("batchmatmul", "batchmatmulv2"), _product),
}


def _words(text: str) -> list[str]:
    return text.split()


MOVES = frozenset(
    _words(
        """reshape flatten squeeze unsqueeze concat concatv2 cat transpose permute t view
        _unsafe_view expand expand_as contiguous clone copy to _to_copy cast identity slice
        split splitv gather gatherv2 embedding index_select select narrow stack pack unpack
        chunk pad padv2 constant constantofshape shape dropout reorderinput reorderoutput detach
        alias as_strided strided_slice stridedslice expanddims tile noop unfold empty empty_like
        zeros ones arange _reshape_alias lift_fresh memcpyfromhost memcpytohost depthtospace
        spacetodepth reorder const readvariableop placeholder arg retval _arg _retval"""
    )
)
VIEWS = frozenset(
    _words(
        """view _unsafe_view expand expand_as permute t transpose slice select narrow squeeze
        unsqueeze detach alias as_strided _reshape_alias unfold split chunk dropout identity"""
    )
)
SAME_MEMORY = frozenset(
    _words("readvariableop const placeholder arg retval _arg _retval noop identity reshape flatten")
) | frozenset(_words("squeeze unsqueeze expanddims"))
ONCE = _words(
    """relu relu6 leakyrelu leaky_relu prelu clip clamp clamp_min hardtanh add addv2 sub rsub mul
    div realdiv neg abs sqrt rsqrt reciprocal pow exp log erf sigmoid tanh hardsigmoid hardswish
    elu selu gelu fastgelu quickgelu silu softplus min max minimum maximum biasadd floor ceil round
    where equal greater less not and or threshold cos sin quantizelinear dequantizelinear biasgelu
    bias_add swish square masked_fill bitwise_not lrn eq ne gt lt ge le"""
)
NORMALISED = _words(
    """batchnormalization batch_norm native_batch_norm fusedbatchnorm fusedbatchnormv3
    instancenormalization"""
)
SOFTMAX = _words("softmax log_softmax logsoftmax _softmax")
LAYER_NORMALISED = _words("layer_norm native_layer_norm layernormalization")
EACH_RESULT: Mapping[str, int] = {
    **dict.fromkeys(ONCE, 1),
    **dict.fromkeys(NORMALISED, 2),
    **dict.fromkeys(SOFTMAX, 3),
    **dict.fromkeys(LAYER_NORMALISED, 5),
}
EACH_INPUT = frozenset(
    _words(
        """globalaveragepool globalmaxpool maxpool averagepool avgpool max_pool1d max_pool2d
        avg_pool2d adaptive_avg_pool2d adaptive_avg_pool1d reducemean
        reducesum reducemax reducemin mean sum amax amin argmax argmin all any is_nonzero"""
    )
)
_TENSORFLOW = {"conv2d": "tf_conv2d", "conv3d": "tf_conv3d"}


def plain(operator: str) -> str:
    """An operator's name as the tables have it: without its framework, its fusion, its case."""
    name = operator.rpartition("::")[2]
    if operator.startswith("aten::"):
        name = name.rstrip("_").lower()
        return "torch_matmul" if name == "matmul" else name
    if name in ("Conv2D", "_FusedConv2D", "_MklFusedConv2D", "_MklNativeFusedConv2D", "Conv3D"):
        return _TENSORFLOW["conv3d" if name == "Conv3D" else "conv2d"]
    name = re.sub(r"^_?(Mkl)?(Native)?_?(Fused)?(?=[A-Z])", "", name)
    return name.lower()
