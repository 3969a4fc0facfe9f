"""Multiply-adds of a model's own graph: against published figures, and where they are not known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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


# ------------------------------------------------------------------ TensorFlow

BY_HAND = {
    # Howard et al. 2017, table 4: 569 M; Sandler et al. 2018, table 4: 300 M.
    "MobileNet": 568_740_352,
    "MobileNet, two": 2 * 568_740_352,
    "MobileNetV2": 300_774_272,
    # 2 x 4 x 4 x 4 results of 27 numbers; then 2 x 4 x 4 places, of o k n = 5 x 4 x 6.
    "first generation": 2 * 4 * 4 * 4 * 27 + 2 * 4 * 7,
    "einsum": 2 * 4 * 4 * 4 * 27 + 2 * 4 * 4 * 5 * 4 * 6,
}


@pytest.fixture(scope="module")
def by_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Counted once, in a process that TensorFlow may fill."""
    pytest.importorskip("keras", reason="keras is not installed")
    script = Path(__file__).with_name("author_macs_tensorflow.py")
    told = subprocess.run(
        [sys.executable, str(script), str(tmp_path_factory.mktemp("macs"))],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", BY_HAND)
def test_tensorflow_graphs(by_tensorflow: dict[str, Any], name: str) -> None:
    macs, by = by_tensorflow[name]
    assert macs == BY_HAND[name], by
    assert by.startswith("tensorflow ") and by.endswith("shape inference")


def test_tensorflows_own_profiler_counts_as_many(by_tensorflow: dict[str, Any]) -> None:
    assert by_tensorflow["by TensorFlow"] == 2 * BY_HAND["MobileNet"]


def test_a_loop_says_so(by_tensorflow: dict[str, Any]) -> None:
    macs, why = by_tensorflow["loop"]
    assert macs == -1 and "While" in why and "has no rule" in why
