"""Multiply-adds of an ONNX graph as its file has it, before ONNX Runtime's own optimisations.

Shapes are the package onnx's (onnx.shape_inference), for the inputs that were really given. What is
counted: convolutions and matrix products; bias, activation and normalisation are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PRODUCTS = (
    *("Conv", "ConvInteger", "QLinearConv", "ConvTranspose"),
    *("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"),
)
UNCOUNTED = ("Einsum", "LSTM", "GRU", "RNN", "Attention", "If", "Loop", "Scan")
QLINEAR_WEIGHTS = 3
UNKNOWN_SHAPE = "no shape can be inferred"
MOST_BYTES = 256 << 20
"""Of a model that is opened once more to have its constants folded."""


def multiply_adds(path: str, inputs: Mapping[str, Sequence[int]]) -> tuple[int, str]:
    """(multiply-adds of one call with these shapes, by what); -1 and why where they are unknown."""
    try:
        import onnx
    except ImportError:
        return -1, "the package onnx is not installed in the model's environment"
    counted, by = _count(onnx.load(path, load_external_data=False), inputs)
    if counted < 0 and by.startswith(UNKNOWN_SHAPE) and _size(path) <= MOST_BYTES:
        # A Pad, say, whose sizes a part of the graph computes: constants, once they are folded.
        counted, by = _count(_folded(path), inputs)
        by += ", after ONNX Runtime folded constants"
    return counted, by


def _size(path: str) -> int:
    """Of the graph and of the weights beside it."""
    return sum(each.stat().st_size for each in Path(path).parent.iterdir() if each.is_file())


def _folded(path: str) -> Any:
    """The graph after ONNX Runtime's basic optimisations, which keep what is multiplied."""
    import onnx
    import onnxruntime

    with TemporaryDirectory(prefix="mlms-") as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath, load_external_data=False)


def _count(model: Any, inputs: Mapping[str, Sequence[int]]) -> tuple[int, str]:
    import onnx
    from onnx import shape_inference

    for given in model.graph.input:
        if given.name in inputs:
            del given.type.tensor_type.shape.dim[:]
            for size in inputs[given.name]:
                given.type.tensor_type.shape.dim.add().dim_value = int(size)
    del model.graph.value_info[:]  # what was inferred for other shapes, a free batch among them
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = _shapes(inferred)
    total = 0
    for node in inferred.node:
        if node.op_type in UNCOUNTED:
            return -1, f"{node.op_type} ({node.name}) has no rule for its multiply-adds"
        if node.op_type in PRODUCTS:
            counted = _product(node, shapes)
            if counted is None:
                return -1, f"{UNKNOWN_SHAPE} around {node.name} (onnx {onnx.__version__})"
            total += counted
    return total, f"onnx {onnx.__version__}, shape inference"


def _shapes(graph: Any) -> dict[str, list[int]]:
    found = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            found[value.name] = [dim.dim_value for dim in dims]
    return found


def _product(node: Any, shapes: Mapping[str, list[int]]) -> int | None:
    kind, given = node.op_type, node.input
    made = shapes.get(node.output[0])
    at = QLINEAR_WEIGHTS if kind.startswith("QLinear") else 1
    left, right = shapes.get(given[0]), shapes.get(given[at])
    if kind == "ConvTranspose":
        return prod(left) * prod(right[1:]) if left and right else None
    if "Conv" in kind:
        return prod(made) * prod(right[1:]) if made and right else None
    if made is None or not left:
        return None
    if kind == "Gemm":
        turned = any(a.name == "transA" and a.i for a in node.attribute)
        return prod(made) * left[0 if turned else 1]
    return prod(made) * left[-1]
