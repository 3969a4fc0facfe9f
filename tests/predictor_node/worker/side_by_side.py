"""A framework for the tests: branches of a model, each an ONNX Runtime session, side by side."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import get_native_id

import numpy as np
import onnxruntime as ort

from . import Layers

SETTINGS = ("threads", "inter_op_threads")


class Handle:
    def __init__(self, spec):
        self.workers = int(spec.settings.get("inter_op_threads", 1))
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        paths = sorted(Path(spec.files["graph"]).parent.glob("branch*.onnx"))
        self.branches = [
            ort.InferenceSession(str(p), options, providers=["CPUExecutionProvider"]) for p in paths
        ]
        self.pool = ThreadPoolExecutor(self.workers)
        self.inputs = [{"name": "images", "dtype": "float32", "shape": ["N", 3, 96, 96]}]
        self.outputs = [{"name": "logits", "dtype": "float32", "shape": ["N", 8]}]
        self.settings = {"inter_op_threads": self.workers, "device": spec.device}
        self.seen = []

    def run(self, index, batch):
        begin_ns = time.time_ns()
        (answer,) = self.branches[index].run(None, {"x": batch["images"]})
        self.seen.append((index, begin_ns, time.time_ns() - begin_ns, get_native_id()))
        return answer


def open(spec):
    return Handle(spec)


def predict(handle, batch):
    answers = handle.pool.map(lambda index: handle.run(index, batch), range(len(handle.branches)))
    return [np.sum(list(answers), axis=0)]


def close(handle):
    handle.pool.shutdown()


def describe():
    return {"version": ort.__version__, "devices": ["cpu"], "providers": []}


def layers(handle, starts_ns, durations_ns, warmup_count):
    measured = sorted(handle.seen[warmup_count * len(handle.branches) :], key=lambda row: row[1])
    layer, begin_ns, took_ns, thread = (np.array(c, np.int64) for c in zip(*measured, strict=True))
    named = {"operator": "Branch", "provider": "", "inputs": [], "outputs": []}
    sizes = {"parameter_bytes": 0, "output_bytes": 0}
    table = [
        {"index": index, "name": f"branch{index}", **named, **sizes}
        for index in range(len(handle.branches))
    ]
    return Layers(
        table=table, layer=layer, starts_ns=begin_ns, durations_ns=took_ns, threads=thread
    )
