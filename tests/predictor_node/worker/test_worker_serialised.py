"""Layers that ran side by side leave what lies below them unclear; a serialised rerun does not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bus import codec
from bus.messages import Span, SpansRecorded
from collector.timeline import assemble
from predictor_node.serialised import settings_for

HERE = Path(__file__).parent
BRANCHES, CHANNELS, SIZE = 4, 32, 96
APPLICATION, FRAMEWORK, LIBRARY = 1, 3, 4
ASKED: dict[str, str | int] = {"device": "cpu", "inter_op_threads": 2}


@pytest.fixture
def branches(tmp_path: Path) -> Path:
    """Four chains of convolutions that need nothing of one another, 10 ms each or so."""
    random = np.random.default_rng(3)
    for branch in range(BRANCHES):
        nodes, weights, at, channels = [], [], "x", 3
        for step in range(3):
            kernel = random.normal(size=(CHANNELS, channels, 3, 3)).astype(np.float32) / 10
            weights.append(numpy_helper.from_array(kernel, f"w{step}"))
            nodes.append(helper.make_node("Conv", [at, f"w{step}"], [f"c{step}"], pads=[1] * 4))
            at, channels = f"c{step}", CHANNELS
        ends = random.normal(size=(CHANNELS, 8)).astype(np.float32) / 100
        weights.append(numpy_helper.from_array(ends, "ends"))
        nodes += [
            helper.make_node("GlobalAveragePool", [at], ["pool"]),
            helper.make_node("Flatten", ["pool"], ["flat"]),
            helper.make_node("MatMul", ["flat", "ends"], ["y"]),
        ]
        shapes = [("x", ["N", 3, SIZE, SIZE]), ("y", ["N", 8])]
        ins, outs = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes)
        graph = helper.make_graph(nodes, "branch", [ins], [outs], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / f"branch{branch}.onnx")
    shutil.copy(HERE / "side_by_side.py", tmp_path / "side_by_side.py")
    return tmp_path


def job(make_job: Any, branches: Path, settings: dict[str, str | int]) -> dict[str, Any]:
    made = make_job(run={"level": "framework", "queries": 4, "warmup": 1})
    made["inputs"][0]["parameters"]["dimensions"] = [3, SIZE, SIZE]
    files = {"graph": str(branches / "branch0.onnx"), "weights": ""}
    return made | {
        "framework": "side_by_side",
        "plugin": str(branches / "side_by_side.py"),
        "model": {"name": "Branches", "version": "1.0.0", "key": "branches", "files": files},
        "settings": settings_for("side_by_side", settings, ("threads", "inter_op_threads")),
        "labels": "",
        "top_k": 1,
    }


def unclear_primitives(said: Any) -> tuple[int, int]:
    """Of one primitive in the middle of each layer, how many have no clear one; and of how many.

    They come as from a log that names no threads, which is what oneDNN's is.
    """
    spans = [
        Span(
            s["id"],
            s["parent"],
            s["level"],
            s["name"],
            s["start_ns"],
            s["duration_ns"],
            s["thread"],
        )
        for s in said.spans()
    ]
    layers = [span for span in spans if span.level == FRAMEWORK]
    assert len(layers) == 4 * BRANCHES
    spans += [
        Span(number, 0, LIBRARY, "primitive", layer.start_ns + layer.duration_ns // 2, 1_000)
        for number, layer in enumerate(layers, 1)
    ]
    batch = SpansRecorded(
        evaluation_id="e",
        source="worker",
        batch=0,
        levels={"framework": len(layers), "library": len(layers)},
        count=len(spans),
        first_start_ns=0,
        last_end_ns=0,
        block=codec.pack_rows(spans),
    )
    timeline = assemble([batch], [])
    below = timeline.at("library")
    whose = {layer.span_id: layer for layer in layers}
    for span in below:
        layer = whose.get(span.parent_id)
        assert span.ambiguous or (layer and layer.start_ns <= span.start_ns <= span.end_ns)
    assert timeline.to_chunks()[0].ambiguous == int(timeline.ambiguous.sum())
    return int(below.ambiguous.sum()), len(below)


def test_a_serialised_rerun_makes_every_parent_clear(fresh_worker, make_job, branches) -> None:  # type: ignore[no-untyped-def]
    """What ran side by side is ambiguous; the same run serialised is not."""
    parallel = fresh_worker.run(job(make_job, branches, ASKED))
    assert parallel.one("opened")["settings"]["inter_op_threads"] == 2
    unclear, all_of_them = unclear_primitives(parallel)
    assert 0 < unclear <= all_of_them

    serial = fresh_worker.run(job(make_job, branches, ASKED | {"serialize": 1}))
    assert serial.one("opened")["settings"]["inter_op_threads"] == 1
    assert unclear_primitives(serial) == (0, all_of_them)
