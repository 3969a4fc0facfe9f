"""ONNX Runtime's profile read back: small files whose answers can be checked by eye."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from predictor_node.worker.frames import FrameError, pack, read_frames
from predictor_node.worker.frameworks import Layers
from predictor_node.worker.frameworks.onnxruntime_profile import read_layers

EPOCH_NS = 1_700_000_000_000_000_000


def run_event(at_us: int, took_us: int) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": at_us, "dur": took_us, "tid": 9}


def node_event(name: str, at_us: int, took_us: int) -> dict[str, Any]:
    args = {
        "op_name": "Conv",
        "provider": "CPUExecutionProvider",
        "input_type_shape": [{"float": [1, 3]}, {"int64": [2]}],
        "output_type_shape": [{"double": [1, 8]}],
        "output_size": "64",
        "parameter_size": "96",
    }
    event = {"cat": "Node", "name": f"{name}_kernel_time", "ts": at_us, "dur": took_us, "tid": 9}
    return event | {"args": args}


def read(
    tmp_path: Path,
    events: list[dict[str, Any]],
    calls: list[tuple[int, int]],
    warmup_count: int = 0,
) -> Layers:
    """calls: start and duration of each predict call, in nanoseconds after EPOCH_NS."""
    path = tmp_path / "profile.json"
    path.write_text("[\n" + ",\n".join(json.dumps(event) for event in events) + "\n]\n")
    starts_ns = np.array([EPOCH_NS + start for start, _ in calls], np.int64)
    durations_ns = np.array([duration for _, duration in calls], np.int64)
    return read_layers(path, EPOCH_NS, starts_ns, durations_ns, warmup_count)


def found(layers: Layers) -> list[tuple[str, int, int]]:
    return [
        (layers.table[layer]["name"], int(start) - EPOCH_NS, int(took))
        for layer, start, took in zip(
            layers.layer, layers.starts_ns, layers.durations_ns, strict=True
        )
    ]


def test_nodes_are_described_once(tmp_path: Path) -> None:
    events = [run_event(10, 30), node_event("a", 12, 5), node_event("b", 20, 6)]
    layers = read(tmp_path, events, [(9_000, 35_000)])
    assert found(layers) == [("a", 12_000, 5_000), ("b", 20_000, 6_000)]
    assert layers.table[1] == {
        "index": 1,
        "name": "b",
        "operator": "Conv",
        "provider": "CPUExecutionProvider",
        "inputs": [
            {"dtype": "float32", "shape": [1, 3]},
            {"dtype": "int64", "shape": [2]},
        ],
        "outputs": [{"dtype": "float64", "shape": [1, 8]}],
        "parameter_bytes": 96,
        "output_bytes": 64,
    }
    assert layers.threads.tolist() == [9, 9]


# Where the profile says that the run began (µs) and where its predict call lay (ns): what moves.
SHIFTS = {
    "inside already": (10, (9_000, 35_000), 12_000),
    "too early": (10, (50_000, 35_000), 52_000),
    "too late": (1000, (50_000, 35_000), 57_000),
    "longer than its call": (10, (50_000, 20_000), 52_000),
}


@pytest.mark.parametrize("case", SHIFTS)
def test_a_run_is_moved_into_its_predict_call(tmp_path: Path, case: str) -> None:
    at_us, call, node_start = SHIFTS[case]
    layers = read(tmp_path, [run_event(at_us, 30), node_event("a", at_us + 2, 5)], [call])
    assert found(layers) == [("a", node_start, 5_000)]


def test_nothing_reaches_past_its_predict_call(tmp_path: Path) -> None:
    layers = read(tmp_path, [run_event(0, 30), node_event("a", 2, 28)], [(0, 29_500)])
    assert found(layers) == [("a", 2_000, 27_500)]


def test_warm_ups_are_skipped_by_order_in_a_file_without_order(tmp_path: Path) -> None:
    events = [
        *(node_event("b", 112, 1), node_event("a", 102, 1), run_event(100, 20)),
        *(run_event(0, 20), node_event("once", 1, 1), node_event("a", 2, 1)),
        *(node_event("a", 202, 1), node_event("b", 212, 1), run_event(200, 20)),
    ]
    layers = read(tmp_path, events, [(100_000, 21_000), (200_000, 21_000)], warmup_count=1)
    assert [name for name, _, _ in found(layers)] == ["a", "b", "a", "b"]
    assert [row["name"] for row in layers.table] == ["a", "b"]
    assert layers.lost == 0


def test_runs_that_the_profiler_dropped_are_counted(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    for run in range(2):
        at_us = 100 * run
        events += [node_event("a", at_us + 1, 1), node_event("b", at_us + 3, 1)]
        events.append(run_event(at_us, 10))
    events.append(node_event("a", 201, 1))  # its run never ended: the limit was reached
    layers = read(tmp_path, events, [(100_000 * call, 11_000) for call in range(5)])
    assert len(layers.layer) == 4
    assert layers.lost == 3 * 2
    assert "1,000,000" in layers.reason


def test_an_empty_profile_loses_every_call(tmp_path: Path) -> None:
    layers = read(tmp_path, [], [(0, 10), (20, 10)])
    assert (layers.table, len(layers.layer), layers.lost) == ([], 0, 2)


def test_frames_survive_the_pipe() -> None:
    messages = [{"do": "run", "job": {"é": [1, b"\x00", None, 2**63]}}, {}]
    bodies = [pack(message) for message in messages]
    stream = io.BytesIO(b"".join(struct.pack(">I", len(body)) + body for body in bodies))
    assert list(read_frames(stream)) == messages


DAMAGED = {
    "no map": struct.pack(">I", 1) + msgpack.packb(7),
    "no MessagePack": struct.pack(">I", 1) + b"\xc1",
    "half a map": struct.pack(">I", 2) + b"\x82\x01",
    "too long": b"\xff\xff\xff\xff",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_frames_are_refused(case: str) -> None:
    with pytest.raises(FrameError):
        list(read_frames(io.BytesIO(DAMAGED[case])))


@pytest.mark.parametrize("length", range(4 + 5))
def test_an_end_inside_a_frame_is_an_end(length: int) -> None:
    body = pack({"do": 1})
    whole = struct.pack(">I", len(body)) + body
    assert list(read_frames(io.BytesIO(whole[:length]))) == []
