"""Every node's output of an ONNX graph, as ONNX Runtime computes it: each is made a graph's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from . import Spec


def run_inside(
    spec: Spec, batch: Mapping[str, np.ndarray], options: ort.SessionOptions, providers: list[str]
) -> Iterator[tuple[str, str, Any]]:
    """(name, operator, output) of each node in the graph's order, not optimised: none is fused."""
    import onnx

    model = onnx.load(spec.files["graph"], load_external_data=False)
    known = {output.name for output in model.graph.output}
    made = [(name, node) for node in model.graph.node for name in node.output if name]
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name, _ in made if name not in known
    )
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(_written(spec, model), options, providers=providers)
    names = [name for name, _ in made]
    for (name, node), value in zip(made, session.run(names, dict(batch)), strict=True):
        yield node.name or name, node.op_type, value


def _written(spec: Spec, model: Any) -> str:
    """The graph in a folder of its own, its weights' file beside it: they are looked for there."""
    folder = Path(spec.folder) / "inside"
    folder.mkdir(parents=True, exist_ok=True)
    if weights := spec.files.get("weights"):
        target = folder / Path(weights).name
        target.unlink(missing_ok=True)
        try:
            os.link(Path(weights).resolve(), target)
        except OSError:
            shutil.copyfile(weights, target)
    path = folder / "inside.onnx"
    path.write_bytes(model.SerializeToString())
    return str(path)
