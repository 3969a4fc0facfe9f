"""FLOPs and bytes against published figures, other libraries, and sums by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.primitives import bytes_of_call, work_of_call
from analysis.theoretical import bytes_of, plain, result_of, work_of
from bus.messages import TensorSpec


def light(name: str) -> Path:
    import onnx

    return Path(onnx.__file__).parent / f"backend/test/data/light/light_{name}.onnx"


def layers_of(path: Path, size: int) -> list[tuple[str, str, list[Any], list[Any]]]:
    """(name, operator, inputs, outputs) of an ONNX file, shapes by onnx's own inference."""
    import onnx

    model = onnx.load(path)
    held = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    given = next(i for i in model.graph.input if i.name not in held)
    for at, wanted in enumerate((1, 3, size, size)):
        given.type.tensor_type.shape.dim[at].dim_value = wanted
    graph = onnx.shape_inference.infer_shapes(model).graph
    for value in (*graph.value_info, *graph.input, *graph.output):
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        held.setdefault(value.name, dims)
    return [
        (
            node.name or node.output[0],
            node.op_type,
            [held[name] for name in node.input if name in held],
            [held[name] for name in node.output if name in held],
        )
        for node in graph.node
    ]


def macs_of(path: Path, size: int) -> int:
    return sum(work_of(op, given, made).macs or 0 for _, op, given, made in layers_of(path, size))


PUBLISHED = {
    # Sze et al., Efficient Processing of Deep Neural Networks (2017), table II: 724M MACs at 227.
    ("bvlc_alexnet", 227): 724e6,
    # torchvision's documentation of ResNet50_Weights: 4.09 GFLOPS, which are multiply-adds.
    ("resnet50", 224): 4.09e9,
    # the same of VGG19_Weights: 19.63
    ("vgg19", 224): 19.63e9,
    # the same of DenseNet121_Weights: 2.83
    ("densenet121", 224): 2.83e9,
    # the same of SqueezeNet1_1_Weights: 0.35
    ("squeezenet", 224): 0.35e9,
}


@pytest.mark.parametrize(("name", "size"), PUBLISHED)
def test_published_multiply_adds(name: str, size: int) -> None:
    assert macs_of(light(name), size) == pytest.approx(
        PUBLISHED[name, size], rel=4e-3
    )  # they have 2 or 3 digits


def test_the_exact_counts() -> None:
    assert macs_of(light("resnet50"), 224) == 4_089_184_256
    assert macs_of(light("bvlc_alexnet"), 224) == 654_560_384  # 0.655 G: grouped, at 224


@pytest.mark.parametrize("name", ["resnet50", "bvlc_alexnet", "inception_v1"])
def test_convolutions_and_products_as_onnx_tool_counts_them(name: str) -> None:
    """It counts a bias as a multiply-add more an element; those are taken out here."""
    onnx_tool = pytest.importorskip("onnx_tool")
    import numpy as np

    model = onnx_tool.Model(str(light(name)), {"verbose": False})
    graph = model.graph
    given = graph.input[0]
    graph.shape_infer({given: np.zeros((1, 3, 224, 224), np.float32)})
    graph.profile()
    theirs = []
    for node_name in graph.nodemap:
        node = graph.nodemap[node_name]
        if node.op_type in ("Conv", "Gemm"):
            bias = np.prod(graph.tensormap[node.output[0]].shape) if len(node.input) > 2 else 0
            theirs.append(int(sum(np.atleast_1d(node.macs)) - bias))
    ours = [
        work_of(op, made, out).macs
        for _, op, made, out in layers_of(light(name), 224)
        if op in ("Conv", "Gemm")
    ]
    assert sorted(ours) == sorted(theirs) and len(ours) > 7  # type: ignore[type-var]


CONV, WEIGHTS = [1, 3, 224, 224], [64, 3, 7, 7]
# operator, inputs, outputs, multiply-adds, FLOPs
CASES = {
    # Benanza: (1, 3, 224, 224) to 64 x 112 x 112 by 7 x 7 takes 118,013,952 multiply-adds.
    "conv": ("Conv", [CONV, WEIGHTS], [[1, 64, 112, 112]], 118_013_952, 236_027_904),
    "aten conv": ("aten::conv2d", [CONV, WEIGHTS], [[1, 64, 112, 112]], 118_013_952, 236_027_904),
    "grouped": ("Conv", [[1, 8, 4, 4], [8, 1, 3, 3]], [[1, 8, 4, 4]], 1152, 2304),
    "last": ("_FusedConv2D", [[1, 4, 4, 8], [3, 3, 8, 2]], [[1, 4, 4, 2]], 2304, 4608),
    "depthwise": (
        *("DepthwiseConv2dNative", [[1, 4, 4, 8], [3, 3, 8, 1]], [[1, 4, 4, 8]]),
        *(1152, 2304),
    ),
    "transposed": ("ConvTranspose", [[1, 2, 3, 3], [2, 4, 2, 2]], [[1, 4, 6, 6]], 288, 576),
    "packed gemm": ("FusedGemm", [[1, 9216], [4096]], [[1, 4096]], 37_748_736, 75_497_472),
    "turned gemm": ("Gemm", [[5, 2], [5, 3]], [[2, 3]], 30, 60),
    "matmul": ("MatMul", [[2, 7, 5], [5, 3]], [[2, 7, 3]], 210, 420),
    "linear": ("aten::linear", [[2, 7, 5], [3, 5], [3]], [], 210, 420),
    "addmm": ("aten::addmm", [[3], [7, 5], [5, 3]], [[7, 3]], 105, 210),
    "bmm": ("aten::bmm", [[4, 7, 5], [4, 5, 3]], [[4, 7, 3]], 420, 840),
    "attention": ("aten::scaled_dot_product_attention", [[1, 2, 7, 5]] * 3, [], 980, 1960),
    "relu": ("aten::relu_", [[2, 3]], [[2, 3]], 0, 6),
    "softmax": ("Softmax", [[2, 3]], [[2, 3]], 0, 18),
    "batch norm": ("BatchNormalization", [[2, 3], [3]], [[2, 3]], 0, 12),
    "mean": ("GlobalAveragePool", [[1, 2, 3, 3]], [[1, 2, 1, 1]], 0, 18),
    "reshape": ("Reshape", [[2, 3], [2]], [[3, 2]], 0, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_work(case: str) -> None:
    operator, inputs, outputs, macs, flops = CASES[case]
    work = work_of(operator, inputs, outputs)
    assert (work.macs, work.flops, work.why) == (macs, flops, "")


@pytest.mark.parametrize("operator", ["aten::mm", "aten::addmm", "aten::bmm", "aten::linear"])
def test_what_comes_out_of_products(operator: str) -> None:
    """As PyTorch itself makes it; so do its own counts agree."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    given = {
        "aten::mm": [[7, 5], [5, 3]],
        "aten::addmm": [[3], [7, 5], [5, 3]],
        "aten::bmm": [[4, 7, 5], [4, 5, 3]],
        "aten::linear": [[2, 7, 5], [3, 5], [3]],
    }[operator]
    called = getattr(torch, operator.removeprefix("aten::"), torch.nn.functional.linear)
    with FlopCounterMode(display=False) as counter:
        made = called(*(torch.zeros(shape) for shape in given))
    assert result_of(operator, given) == list(made.shape)
    assert work_of(operator, given, [list(made.shape)]).flops == counter.get_total_flops()


UNKNOWN = {
    "no rule": ("LSTM", [[1, 2, 3]], [[1, 2, 3]], "there is no rule for what LSTM computes"),
    "free size": ("Conv", [["N", 3, 8, 8], [4, 3, 3, 3]], [["N", 4, 8, 8]], "are not recorded"),
    "no output": ("aten::conv2d", [CONV, WEIGHTS], [], "are not recorded"),
    "no name": ("", [], [], "without a name"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_known_says_why(case: str) -> None:
    operator, inputs, outputs, why = UNKNOWN[case]
    work = work_of(operator, inputs, outputs)
    assert work.macs is None and work.flops is None and why in work.why


def tensor(dtype: str, *shape: int) -> TensorSpec:
    return TensorSpec(dtype=dtype, shape=list(shape))


def test_bytes() -> None:
    x, w, out = tensor("float32", 1, 5), tensor("float32", 5, 3), tensor("float32", 1, 3)
    assert bytes_of("Gemm", [x, w], [out]) == 4 * (5 + 15 + 3)
    assert bytes_of("FusedGemm", [x, tensor("float32", 3)], [out]) == 4 * (5 + 3 + 15 + 3)
    half = tensor("bfloat16", 2, 3)
    assert bytes_of("aten::relu", [half], [half]) == 24
    assert bytes_of("aten::view", [half], []) == 0  # the same memory
    assert bytes_of("Relu", [half], []) is None
    assert bytes_of("Relu", [tensor("what", 1)], [half]) is None


@pytest.mark.parametrize(
    ("operator", "name"),
    [
        ("FusedConv", "conv"),
        ("_FusedMatMul", "matmul"),
        ("_MklNativeFusedConv2D", "tf_conv2d"),
        ("aten::add_", "add"),
        ("aten::matmul", "torch_matmul"),
        ("FusedBatchNormV3", "batchnormv3"),
    ],
)
def test_plain_names(operator: str, name: str) -> None:
    assert plain(operator) == name


F32 = "src:f32::blocked:a::f0 wei:f32::blocked:a::f0 dst:f32::blocked:a::f0"
# As oneDNN and MKL print them: name, problem, library, multiply-adds, FLOPs, bytes
CALLS = {
    "convolution": (
        *("convolution", "mb1_ic3oc32_ih225oh112kh3sh2dh0ph0_iw225ow112kw3sw2dw0pw0", "onednn"),
        *(10_838_016, 21_676_032, 4 * (3 * 225 * 225 + 32 * 27 + 32 * 112 * 112)),
    ),
    "depthwise": (
        *("convolution", "mb2_g32ic32oc32_ih8oh8kh3sh1dh0ph1_iw8ow8kw3sw1dw0pw1", "onednn"),
        *(36_864, 73_728, 4 * (2 * 32 * 64 + 32 * 9 + 2 * 32 * 64)),
    ),
    "inner product": (
        *("inner_product", "mb1ic1280oc1000", "onednn", 1_280_000, 2_560_000),
        4 * (1280 + 1_280_000 + 1000),
    ),
    "matmul": ("matmul", "2x14400:14400x10", "onednn", 288_000, 576_000, 4 * 172_820),
    "batched": ("matmul", "4x7x5:4x5x3", "onednn", 420, 840, 4 * (140 + 60 + 84)),
    "gemm": ("sgemm", "T,N,10,2,14400,14400,14400,10", "mkl", 288_000, 576_000, 4 * 172_820),
    "reorder": ("reorder", "16x3x3x3", "onednn", 0, 0, 4 * 2 * 432),
    "eltwise": ("eltwise", "1x32x112x112", "onednn", 0, 401_408, 4 * 2 * 401_408),
    "pooling": (
        *("pooling", "mb4ic64_ih30oh15kh2sh2dh0ph0_iw30ow15kw2sw2dw0pw0", "onednn"),
        *(0, 4 * 64 * 225 * 4, 4 * 4 * 64 * (900 + 225)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CALLS)
def test_library_calls(case: str) -> None:
    name, problem, library, macs, flops, moved = CALLS[case]
    tags = {"library": library, "problem": problem, "tensors": F32, "implementation": "mkl:sgemm"}
    work = work_of_call(name, tags)
    assert (work.macs, work.flops) == (macs, flops)
    assert bytes_of_call(name, tags) == moved


def test_a_call_without_sizes_has_a_reason() -> None:
    assert "a size that is not told" in work_of_call("rnn", {"library": "onednn"}).why
    assert "do not tell m, n and k" in work_of_call("sgemm", {"library": "mkl"}).why
    assert bytes_of_call("convolution", {"library": "onednn", "problem": "?"}) is None
