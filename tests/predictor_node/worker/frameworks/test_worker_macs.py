"""Multiply-adds of a model's own graph: against published figures, and where they are not known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from predictor_node.worker.frameworks.onnxruntime_macs import multiply_adds

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
# Input, and what torchvision's documentation and Sze et al. (2017, at 227) say, in millions.
PUBLISHED = {
    "resnet50": ("gpu_0/data_0", 224, 4_089),
    "vgg19": ("data_0", 224, 19_632),
    "densenet121": ("data_0", 224, 2_834),
    "bvlc_alexnet": ("data_0", 227, 724),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures(name: str) -> None:
    given, size, millions = PUBLISHED[name]
    macs, by = multiply_adds(str(LIGHT / f"light_{name}.onnx"), {given: (1, 3, size, size)})
    assert round(macs / 1e6) == millions
    assert by == f"onnx {onnx.__version__}, shape inference"


def test_twice_the_batch_takes_twice_as_many() -> None:
    path = str(LIGHT / "light_squeezenet.onnx")
    one, two = (multiply_adds(path, {"data_0": (n, 3, 224, 224)})[0] for n in (1, 2))
    assert two == 2 * one > 0


def saved(folder: Path, *nodes: onnx.NodeProto, weights: dict[str, np.ndarray]) -> str:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(nodes),
        "g",
        [value("x", TensorProto.FLOAT, ["N", 1, 4, 4])],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "m.onnx")
    return str(folder / "m.onnx")


def test_sizes_that_the_graph_computes_are_folded_first(tmp_path: Path) -> None:
    """A Pad by what two constants add up to: shape inference alone does not follow it."""
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    path = saved(
        tmp_path,
        helper.make_node("Cast", ["half"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "two"], ["doubled"]),
        helper.make_node("Cast", ["doubled"], ["pads"], to=TensorProto.INT64),
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node("Conv", ["padded", "w"], ["y"], name="conv"),
        weights={
            "half": pads.astype(np.float32) / 2,
            "two": np.array(2, np.float32),
            "w": np.ones((2, 1, 3, 3), np.float32),
        },
    )
    macs, by = multiply_adds(path, {"x": (3, 1, 4, 4)})
    assert macs == 3 * 2 * 4 * 4 * 9
    assert by.endswith("after ONNX Runtime folded constants")


def test_what_has_no_rule_says_so(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        helper.make_node("Einsum", ["x", "w"], ["y"], name="sums", equation="nchw,w->nch"),
        weights={"w": np.ones(4, np.float32)},
    )
    assert multiply_adds(path, {"x": (1, 1, 4, 4)}) == (
        -1,
        "Einsum (sums) has no rule for its multiply-adds",
    )
