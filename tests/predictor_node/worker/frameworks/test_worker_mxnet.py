"""MXNet 1.9.1, a framework of the papers that nobody develops any more, in a venv of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor_node import worker

if TYPE_CHECKING:
    from ..conftest import Process, StartWorker
    from .conftest import NetJob, SmallNet

AUTHOR = Path(__file__).parent / "author_mxnet_net.py"
WORKER = Path(worker.__file__).parent
ENVIRONMENT = Path.home() / ".cache" / "mlmodelscope-tests" / "envs" / "mxnet-1.9.1"
# numpy 1.24 took away names that this MXNet still uses.
PACKAGES = ("mxnet==1.9.1", "numpy==1.23.5", "msgpack>=1.0.7", "pillow>=10")
INSTALL_S = 300


@pytest.fixture(scope="module")
def mxnet_python() -> Path:
    """The Python of an environment that has MXNet: made once a machine."""
    python = ENVIRONMENT / "bin" / "python"
    if python.exists():
        return python
    part = ENVIRONMENT.with_name(f"{ENVIRONMENT.name}.{os.getpid()}")
    subprocess.run([sys.executable, "-m", "venv", str(part)], check=True)
    pip = [str(part / "bin" / "python"), "-m", "pip", "install", "--quiet", *PACKAGES]
    made = subprocess.run(pip, capture_output=True, text=True, timeout=INSTALL_S)
    if made.returncode:
        shutil.rmtree(part)
        last = (made.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        pytest.skip(f"MXNet 1.9.1 cannot be installed here: {last}")
    try:
        part.rename(ENVIRONMENT)
    except OSError:  # another session was faster
        shutil.rmtree(part)
    return python


@pytest.fixture(scope="module")
def mxnet_files(
    mxnet_python: Path, small_net: SmallNet, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("mxnet")
    shutil.copy(small_net.folder / "weights.npz", folder)
    subprocess.run([str(mxnet_python), str(AUTHOR), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def mxnet_worker(mxnet_python: Path, start_worker: StartWorker) -> Process:
    return start_worker(str(mxnet_python), OMP_NUM_THREADS="1")


def of_mxnet(net_job: NetJob, folder: Path, graph: str, weights: str, **changes: Any) -> Any:
    files = {"graph": str(folder / graph), "weights": str(folder / weights) if weights else ""}
    outputs = [{"type": "raw", "name": "dense_output"}]
    return net_job("mxnet", {"files": files, **changes.pop("model", {})}, outputs=outputs) | changes


def scores(said: Any) -> np.ndarray:
    assert not said.all("failed"), said.one("failed")["text"]
    rows = [made["tensors"][0] for made in said.one("predictions")["predictions"]]
    return np.stack([np.frombuffer(row["data"], row["dtype"]) for row in rows])


def test_a_symbol_with_parameters_says_what_numpy_says(
    mxnet_worker: Process, net_job: NetJob, mxnet_files: Path, small_net: SmallNet
) -> None:
    runs = [{"index": i, "batch_size": n, "queries": 2, "warmup": 1} for i, n in enumerate((2, 1))]
    job = of_mxnet(net_job, mxnet_files, "net-symbol.json", "net-0000.params", runs=runs)
    said = mxnet_worker.run(job)
    assert np.abs(scores(said) - small_net.expected).max() < 1e-4
    opened = said.all("opened")[0]
    assert opened["version"] == "1.9.1"
    assert opened["providers"] == {
        "cpu(0)": ["conv_weight", "conv_bias", "dense_weight", "dense_bias"]
    }
    assert opened["settings"]["intra_op_threads"] == 1
    assert opened["settings"]["precision"] == "float32"


def test_a_label_of_the_training_is_not_asked_for(
    mxnet_worker: Process, net_job: NetJob, mxnet_files: Path, small_net: SmallNet
) -> None:
    job = of_mxnet(net_job, mxnet_files, "loss-symbol.json", "net-0000.params")
    job["outputs"] = [{"type": "raw", "name": "softmax_output"}]
    exponents = np.exp(small_net.expected - small_net.expected.max(1, keepdims=True))
    expected = exponents / exponents.sum(1, keepdims=True)
    assert np.abs(scores(mxnet_worker.run(job)) - expected).max() < 1e-5


def test_random_weights_of_mxnet_are_drawn_with_the_seed(
    mxnet_worker: Process, net_job: NetJob, mxnet_files: Path
) -> None:
    said = []
    for seed in (5, 6, 5):
        model = {"weights": "random"}
        job = of_mxnet(net_job, mxnet_files, "net-symbol.json", "", model=model, seed=seed)
        said.append(scores(mxnet_worker.run(job)))
    assert np.array_equal(said[0], said[2])
    assert not np.array_equal(said[0], said[1])


def test_the_layers_of_mxnet_are_the_nodes_of_its_graph(
    mxnet_worker: Process, net_job: NetJob, mxnet_files: Path, small_net: SmallNet
) -> None:
    levels = ("framework", "model")  # afterwards operators run in bulk again
    runs = [
        {"index": i, "batch_size": 2, "queries": 5, "warmup": 2, "level": level}
        for i, level in enumerate(levels)
    ]
    job = of_mxnet(net_job, mxnet_files, "net-symbol.json", "net-0000.params", runs=runs)
    said = mxnet_worker.run(job)
    assert np.abs(scores(said) - small_net.expected).max() < 1e-4
    assert said.one("finished")["unavailable"] == {}
    layers = said.one("graph")["layers"]
    named = [(each["name"], each["operator"]) for each in layers]
    own = [(name, operator) for name, operator in named if operator != "Reorder"]  # oneDNN's
    assert own == [
        ("conv", "Convolution"),
        ("relu", "Activation"),
        ("flatten0", "Flatten"),
        ("dense", "FullyConnected"),
    ]
    shapes = [each["outputs"][0]["shape"] for each in layers if each["outputs"]]
    assert shapes == [[2, 4, 6, 6], [2, 4, 6, 6], [2, 144], [2, 5]]
    assert layers[0]["parameter_bytes"] == 4 * (4 * 3 * 3 * 3 + 4)
    spans = said.spans(3)
    assert [span["name"] for span in spans] == [name for name, _ in named] * 5
    for number, predict in enumerate(said.spans(2)[:5]):
        end_ns = predict["start_ns"] + predict["duration_ns"]
        for span in spans[len(named) * number :][: len(named)]:
            assert predict["start_ns"] <= span["start_ns"]
            assert span["start_ns"] + span["duration_ns"] <= end_ns


BAD = {
    "a setting": ({"settings": {"treads": 1}}, "request", "did you mean threads"),
    "a device": ({"settings": {"device": "gpu"}}, "framework", "finds no GPU"),
    "a precision": ({"settings": {"precision": "float16"}}, "request", "holds float32"),
    "weights that are none": ({"weights": "weights.npz"}, "asset", "weights.npz"),
    "a graph that is none": ({"graph": "weights.npz"}, "asset", "no symbol"),
    "no weights": ({"weights": ""}, "request", "say weights: random"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_mxnet_is_asked_wrongly(
    mxnet_worker: Process, net_job: NetJob, mxnet_files: Path, case: str
) -> None:
    given, kind, words = BAD[case]
    changes = dict(given)
    graph = changes.pop("graph", "net-symbol.json")
    weights = changes.pop("weights", "net-0000.params")
    failed = mxnet_worker.run(of_mxnet(net_job, mxnet_files, graph, weights, **changes))
    assert failed.one("failed")["kind"] == kind, failed.one("failed")["text"]
    assert words in failed.one("failed")["text"]
