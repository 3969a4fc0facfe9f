"""The peer for PyTorch: EfficientNet-Lite0 in a loop, by itself, with nothing of ours around it.

    python bare_loop_torch.py WEIGHTS.pth TENSOR.npy

Asked and answering as bare_loop.py; with a profile, torch.profiler is on for the block.
"""

import json
import os
import sys
import time
from contextlib import nullcontext
from typing import Any

os.environ["KINETO_LOG_LEVEL"] = "99"

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from torch.profiler import ProfilerActivity, profile


@torch.inference_mode()
def predict(module: Any, tensor: np.ndarray) -> np.ndarray:
    made: np.ndarray = module(torch.from_numpy(tensor)).numpy()
    return made


def measure(module: Any, tensor: np.ndarray, warmup: int, queries: int) -> dict[str, Any]:
    clock_ns = time.perf_counter_ns
    starts_ns, durations_ns = [], []
    best = int(np.argmax(predict(module, tensor)[0]))
    for _ in range(warmup):
        predict(module, tensor)
    for _ in range(queries):
        start_ns = clock_ns()
        answer = predict(module, tensor)
        end_ns = clock_ns()
        del answer
        starts_ns.append(start_ns)
        durations_ns.append(end_ns - start_ns)
    return {"starts_ns": starts_ns, "durations_ns": durations_ns, "best": best}


def main(weights: str, tensor_file: str) -> None:
    torch.set_num_threads(1)
    tensor, module = np.load(tensor_file), EfficientNet.from_name("efficientnet-lite0")
    module.load_state_dict(torch.load(weights, weights_only=True))
    module.eval()
    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        cpu = [ProfilerActivity.CPU]
        looking = profile(activities=cpu, acc_events=False) if asked["profile"] else nullcontext()
        with looking:
            said = measure(module, tensor, asked["warmup"], asked["queries"])
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
