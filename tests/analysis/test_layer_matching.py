"""Layers of two frameworks beside each other: real names, matched as the network's author would."""

from __future__ import annotations

import pytest

from analysis.layer_matching import kind_of, matched_layers, place_of
from analysis.layers import LayerRow
from bus.messages import GraphDescribed, LayerDescribed


def rows(*layers: tuple[str, str, list[int], int]) -> list[LayerRow]:
    return [
        LayerRow(
            index=index,
            name=name,
            operator=operator,
            output_shape=list(shape),
            queries=1,
            median_ns=ns,
            total_ns=ns,
            share_percent=None,
            run=0,
        )
        for index, (name, operator, shape, ns) in enumerate(layers)
    ]


def graph(*modules: str) -> GraphDescribed:
    layers = [LayerDescribed(index=n, name=str(n), module=m) for n, m in enumerate(modules)]
    common = {"evaluation_id": "e", "job_id": "j", "attempt": 1, "node_id": "n"}
    return GraphDescribed(**common, sequence=0, at_ns=0, run=0, layers=layers)


# As ONNX Runtime, PyTorch and TensorFlow name the layers of MNIST-CNN when they run it.
ORT = rows(
    ("/1/Relu_output_0_nchwc", "Conv", [1, 16, 28, 28], 8),
    ("ReorderOutput_token_5", "ReorderOutput", [1, 8, 28, 28], 4),
    ("/2/MaxPool", "MaxPool", [1, 8, 14, 14], 5),
    ("/4/Relu_output_0_nchwc", "Conv", [1, 16, 14, 14], 11),
    ("/5/MaxPool_output_0_nchwc", "MaxPool", [1, 16, 7, 7], 3),
    ("ReorderOutput", "ReorderOutput", [1, 16, 7, 7], 3),
    ("/6/Flatten", "Flatten", [1, 784], 3),
    ("fused /7/Gemm", "FusedGemm", [1, 64], 7),
    ("/9/Gemm", "Gemm", [1, 10], 3),
)
TORCH = rows(
    ("conv2d", "aten::conv2d", [1, 8, 28, 28], 30),
    ("relu", "aten::relu", [1, 8, 28, 28], 17),
    ("max_pool2d", "aten::max_pool2d", [1, 8, 14, 14], 38),
    ("conv2d_1", "aten::conv2d", [1, 16, 14, 14], 30),
    ("relu_1", "aten::relu", [1, 16, 14, 14], 15),
    ("max_pool2d_1", "aten::max_pool2d", [1, 16, 7, 7], 20),
    ("flatten", "aten::flatten", [1, 784], 5),
    ("linear", "aten::linear", [1, 64], 20),
    ("relu_2", "aten::relu", [1, 64], 5),
    ("linear_1", "aten::linear", [1, 10], 10),
)
MODULES = graph(*"0123456789")
TENSORFLOW = rows(
    ("m/conv2d_1/Reshape/ReadVariableOp", "ReadVariableOp", [8], 1),
    ("m/conv2d_1/Relu", "_MklNativeFusedConv2D", [1, 28, 28, 8], 40),
    ("m/max_pooling2d_1/MaxPool2d", "_MklNativeMaxPool", [1, 14, 14, 8], 23),
    ("m/conv2d_1_2/Relu", "_MklNativeFusedConv2D", [1, 14, 14, 16], 29),
    ("m/max_pooling2d_1_2/MaxPool2d", "_MklNativeMaxPool", [1, 7, 7, 16], 20),
    ("m/flatten_1/Reshape/shape", "Pack", [2], 2),
    ("m/dense_1/Relu", "_MklNativeFusedMatMul", [1, 64], 24),
    ("m/logits_1/BiasAdd", "_MklNativeFusedMatMul", [1, 10], 9),
)


def test_many_to_one_where_one_side_fused_them() -> None:
    pairs = matched_layers(ORT, TORCH, None, MODULES)
    assert [(pair.a, pair.b) for pair in pairs] == [
        (["/1/Relu_output_0_nchwc", "ReorderOutput_token_5"], ["conv2d", "relu"]),
        (["/2/MaxPool"], ["max_pool2d"]),
        (["/4/Relu_output_0_nchwc"], ["conv2d_1", "relu_1"]),
        (
            ["/5/MaxPool_output_0_nchwc", "ReorderOutput", "/6/Flatten"],
            ["max_pool2d_1", "flatten"],
        ),
        (["fused /7/Gemm"], ["linear", "relu_2"]),
        (["/9/Gemm"], ["linear_1"]),
    ]
    assert {pair.by for pair in pairs} == {"name"}
    first = pairs[0]
    assert (first.a_ns, first.b_ns, first.difference_ns) == (12, 47, 35)
    assert first.ratio == pytest.approx(47 / 12)


def test_frameworks_that_share_no_names_by_kind_and_shape() -> None:
    pairs = matched_layers(TORCH, TENSORFLOW, MODULES, None)
    assert [len(pair.a) for pair in pairs] == [2, 1, 2, 2, 2, 1]
    assert [pair.b[-1].split("/")[1] for pair in pairs] == [
        "conv2d_1", "max_pooling2d_1", "conv2d_1_2", "flatten_1", "dense_1", "logits_1",
    ]  # fmt: skip
    assert {pair.by for pair in pairs} == {"kind and shape"}


@pytest.mark.parametrize("one", [ORT, TORCH, TENSORFLOW])
@pytest.mark.parametrize("two", [ORT, TORCH, TENSORFLOW])
def test_no_layer_is_lost_or_told_twice(one: list[LayerRow], two: list[LayerRow]) -> None:
    pairs = matched_layers(one, two)
    assert sorted(n for p in pairs for n in p.a) == sorted(row.name for row in one)
    assert sorted(n for p in pairs for n in p.b) == sorted(row.name for row in two)
    assert sum(pair.a_ns for pair in pairs) == sum(row.median_ns for row in one)
    assert sum(p.difference_ns for p in pairs) == sum(r.median_ns for r in two) - sum(
        r.median_ns for r in one
    )


def test_what_only_one_side_has_is_said() -> None:
    more = rows(*[(r.name, r.operator, r.output_shape, r.median_ns) for r in TORCH[:3]])  # type: ignore[misc]
    pairs = matched_layers(more, rows(("conv", "Conv", [1, 28, 28, 8], 9)))
    assert [(len(p.a), len(p.b), p.by, p.ratio) for p in pairs] == [
        (2, 1, "kind and shape", 9 / 47), (1, 0, "", None),
    ]  # fmt: skip


def test_the_same_framework_is_matched_by_names() -> None:
    pairs = matched_layers(ORT, ORT[:-1])
    assert len(pairs) == 9 and pairs[-1].b == [] and {p.by for p in pairs[:-1]} == {"name"}


def test_layers_of_one_name_are_matched_in_their_order() -> None:
    """As profiles that were made elsewhere name them: by their operators alone."""
    one = rows(*[("aten::linear", "aten::linear", [1, 8], ns) for ns in (1, 2, 3, 4, 5, 6)])
    two = rows(*[("aten::linear", "aten::linear", [1, 8], ns) for ns in (2, 4, 6, 8, 10)])
    pairs = matched_layers(one, two)
    assert [(p.a_ns, p.b_ns, p.by) for p in pairs] == [
        (1, 2, "name"), (2, 4, "name"), (3, 6, "name"), (4, 8, "name"), (5, 10, "name"),
        (6, 0, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("/_blocks.1/_swish_1/Clip_output_0_nchwc", "_blocks.1._swish"),
        ("/_fc/Gemm/GemmTransposeFusion/", "_fc"),
        ("fused /7/Gemm", "7"),
        ("_blocks.0._depthwise_conv", "_blocks.0._depthwise_conv"),
    ],
)
def test_places_in_the_network(name: str, place: str) -> None:
    assert place_of(name) == place


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::conv2d", "conv"), ("_MklNativeFusedMatMul", "matmul"), ("FusedGemm", "matmul"),
        ("aten::adaptive_avg_pool2d", "pool"), ("BatchNormalization", "after"),
        ("aten::pad", "before"), ("ReadVariableOp", "before"), ("LSTM", "recurrent"),
        ("Softmax", "softmax"), ("Concat", "concat"), ("aten::hardtanh", "after"),
    ],
)  # fmt: skip
def test_kinds(operator: str, kind: str) -> None:
    assert kind_of(operator) == kind
