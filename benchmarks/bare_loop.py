"""The peer: ONNX Runtime in a loop, by itself, with nothing of ours around it.

    python bare_loop.py MODEL TENSOR.npy

A line of JSON in ({"queries", "warmup", "profile"}) gives a line of JSON out. Without a profile
one session serves every block; with one, each block has a new session, and ONNX Runtime's own
profiler is on.
"""

import json
import os
import sys
import tempfile
import time
from typing import Any

import numpy as np
import onnxruntime as ort


def open_session(model: str, profile_prefix: str = "") -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    if profile_prefix:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measure(session: Any, tensor: np.ndarray, warmup: int, queries: int) -> dict[str, Any]:
    feed = {session.get_inputs()[0].name: tensor}
    clock_ns, run = time.perf_counter_ns, session.run
    starts_ns, durations_ns = [], []
    best = int(np.argmax(run(None, feed)[0][0]))
    for _ in range(warmup):
        run(None, feed)
    for _ in range(queries):
        start_ns = clock_ns()
        answer = run(None, feed)
        end_ns = clock_ns()
        del answer
        starts_ns.append(start_ns)
        durations_ns.append(end_ns - start_ns)
    return {"starts_ns": starts_ns, "durations_ns": durations_ns, "best": best}


def main(model: str, tensor_file: str) -> None:
    tensor = np.load(tensor_file)
    session = open_session(model)
    print(json.dumps({"version": ort.__version__}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            asked = json.loads(line)
            if asked["profile"]:
                profiled = open_session(model, os.path.join(folder, "profile"))
                said = measure(profiled, tensor, asked["warmup"], asked["queries"])
                os.unlink(profiled.end_profiling())
            else:
                said = measure(session, tensor, asked["warmup"], asked["queries"])
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
