"""One contract for every framework: the same network in each format says what numpy says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor_node import worker
from predictor_node.capabilities import frameworks_seen

if TYPE_CHECKING:
    from ..conftest import Process, Said
    from .conftest import NetJob, SmallNet

WORKER = Path(worker.__file__).parent
PLUGINS = WORKER / "frameworks"
TOLERANCE = 1e-4
CONSTRUCTED = {"constructor": "small_net:SmallNet", "arguments": {"classes": "5", "label": "7"}}
IN_KERAS = {"constructor": "small_net_keras:small_net"}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "onnx": ("onnxruntime", {"files": {"graph": "net.onnx"}}),
    "exported_program": ("pytorch", {"files": {"graph": "net.pt2"}}),
    "torchscript": ("pytorch", {"files": {"graph": "net.pt"}}),
    "state_dict": ("pytorch", {"files": {"weights": "net.pth"}, **CONSTRUCTED}),
    "safetensors": ("pytorch", {"files": {"weights": "net.safetensors"}, **CONSTRUCTED}),
    "saved_model": ("tensorflow", {"files": {"graph": "net_saved"}}),
    "keras": ("tensorflow", {"files": {"graph": "net.keras"}}),
    "keras constructor": ("tensorflow", {"files": {"weights": "net.weights.h5"}, **IN_KERAS}),
    "litert": ("tensorflow", {"files": {"graph": "net.tflite"}}),
}


def job_of(net_job: NetJob, name: str, **changes: Any) -> dict[str, Any]:
    framework, model = MODELS[name]
    settings = {"device": "cpu", "threads": 1, **changes.pop("settings", {})}
    return net_job(framework, dict(model), settings=settings, **changes)


def scores(said: Said) -> np.ndarray:
    if failed := said.all("failed"):
        raise AssertionError(failed[0]["text"])
    rows = [made["tensors"][0] for made in said.one("predictions")["predictions"]]
    return np.stack(
        [np.frombuffer(row["data"], row["dtype"]).reshape(row["shape"]) for row in rows]
    )


def fails(worker: Process, job: dict[str, Any], kind: str, *words: str) -> None:
    failed = worker.run(job).one("failed")
    assert failed["kind"] == kind, failed["text"]
    for word in words:
        assert word in failed["text"], failed["text"]


@pytest.mark.parametrize("name", MODELS)
def test_every_format_says_what_numpy_says(
    net_worker: Process, net_job: NetJob, small_net: SmallNet, name: str
) -> None:
    runs = [
        {"index": i, "batch_size": n, "queries": 2, "warmup": 1} for i, n in enumerate((2, 1, 3))
    ]
    said = net_worker.run(job_of(net_job, name, runs=runs))
    assert np.abs(scores(said) - small_net.expected).max() < TOLERANCE
    assert [frame["batch_size"] for frame in said.all("measured")] == [2, 1, 3]
    opened = said.all("opened")[0]
    assert opened["settings"]["precision"] == "float32"
    assert opened["settings"]["intra_op_threads"] == 1
    assert [each["name"] for each in opened["inputs"]] == ["images"]
    assert opened["inputs"][0]["dtype"] == "float32"
    assert opened["inputs"][0]["shape"][1:] in ([3, 8, 8], [8, 8, 3])
    assert [each["name"] for each in opened["outputs"]] == ["scores"]


PLACES = {
    "onnx": {"CPUExecutionProvider": 4},
    "state_dict": {"cpu": 2},
    "exported_program": {"cpu": 2},
    "saved_model": {"CPU:0": 4},
    "keras": {"CPU:0": 4},
}


@pytest.mark.parametrize("name", PLACES)
def test_where_the_weights_or_nodes_really_are(
    net_worker: Process, net_job: NetJob, name: str
) -> None:
    opened = net_worker.run(job_of(net_job, name)).one("opened")
    assert {device: len(names) for device, names in opened["providers"].items()} == PLACES[name]


HALVES = [
    ("state_dict", "float16", 0.01),
    ("state_dict", "bfloat16", 0.1),
    ("torchscript", "bfloat16", 0.1),
    ("keras constructor", "float16", 0.01),
    ("keras constructor", "bfloat16", 0.1),
    ("state_dict", "int8", 0.1),
]


@pytest.mark.parametrize(("name", "precision", "tolerance"), HALVES)
def test_another_precision_is_another_computation(
    net_worker: Process,
    net_job: NetJob,
    small_net: SmallNet,
    name: str,
    precision: str,
    tolerance: float,
) -> None:
    said = net_worker.run(job_of(net_job, name, settings={"precision": precision}))
    wrong = np.abs(scores(said) - small_net.expected).max()
    assert 1e-6 < wrong < tolerance
    assert said.one("opened")["settings"]["precision"] == precision


@pytest.mark.parametrize("name", ["onnx", "exported_program", "saved_model", "keras", "litert"])
def test_a_precision_that_the_file_has_not_is_refused(
    net_worker: Process, net_job: NetJob, name: str
) -> None:
    job = job_of(net_job, name, settings={"precision": "float16"})
    fails(net_worker, job, "request", "float16 was asked for", "holds float32")


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize("name", ["onnx", "state_dict", "torchscript", "litert"])
def test_threads_are_what_was_asked_for(net_worker: Process, net_job: NetJob, name: str) -> None:
    for threads in (2, "1"):
        said = net_worker.run(job_of(net_job, name, settings={"threads": threads}))
        assert said.one("opened")["settings"]["intra_op_threads"] == int(threads)


def test_a_warm_model_gets_its_own_threads_back(net_worker: Process, net_job: NetJob) -> None:
    """PyTorch has one number for the process: two models with two of them must not mix."""
    counting = "import torch\n" + (PLUGINS / "pytorch.py").read_text() + COUNTING
    plugin = Path(net_job("pytorch", {})["folder"]) / "counting.py"
    plugin.write_text(counting)
    seen = []
    for threads in (1, 2, 1, 2):
        job = job_of(net_job, "state_dict", settings={"threads": threads})
        said = net_worker.run(job | {"plugin": str(plugin), "framework": "counting"})
        seen.append((said.one("opened")["cached"], scores(said)[0][0]))
    assert seen == [(False, 1), (False, 2), (True, 1), (True, 2)]


COUNTING = """
_predict = predict
def predict(handle, batch):
    _predict(handle, batch)
    count = next(iter(batch.values())).shape[0]
    return [np.full((count, 5), torch.get_num_threads(), np.float32)]
"""


SETTINGS = {
    "onnx": [
        ({"treads": 1}, "did you mean threads"),
        ({"provider": "CUDAExecutionProvide"}, "CPUExecutionProvider"),
        ({"execution": "paralel"}, "did you mean parallel"),
    ],
    "state_dict": [
        ({"graph_optimization": "all"}, "setting of pytorch"),
        ({"precision": "float61"}, "did you mean float16"),
        ({"threads": "-1"}, "0–1024"),
        ({"compile": "indoctor"}, "did you mean inductor"),
        ({"device": "abacus"}, "known: cpu, gpu"),
    ],
    "torchscript": [({"compile": "inductor"}, "TorchScript has a compiler of its own")],
    "saved_model": [({"thread": 1}, "did you mean threads"), ({"onednn": "of"}, "off")],
    "litert": [({"inter_op_threads": 2}, "LiteRT")],
}
WRONG = [(name, *case) for name, cases in SETTINGS.items() for case in cases]


@pytest.mark.parametrize(("name", "settings", "words"), WRONG)
def test_settings_that_mean_nothing_are_refused(
    net_worker: Process, net_job: NetJob, name: str, settings: dict[str, Any], words: str
) -> None:
    fails(net_worker, job_of(net_job, name, settings=settings), "request", words)


@pytest.mark.parametrize("name", ["state_dict", "saved_model", "keras"])
def test_a_gpu_that_is_not_there_is_not_replaced(
    net_worker: Process, net_job: NetJob, name: str
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    job = job_of(net_job, name, settings={"device": "gpu"})
    fails(net_worker, job, "framework", "here", "ask for device cpu")


def test_the_provider_and_the_execution_of_onnxruntime(
    net_worker: Process, net_job: NetJob
) -> None:
    settings = {"provider": "CPUExecutionProvider", "execution": "parallel"}
    opened = net_worker.run(job_of(net_job, "onnx", settings=settings)).one("opened")
    assert opened["settings"]["execution"] == "parallel"
    assert opened["settings"]["providers"] == ["CPUExecutionProvider"]


# ------------------------------------------------------------------ tensors


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_type_is_named(net_worker: Process, net_job: NetJob, name: str) -> None:
    job = job_of(net_job, name)
    parameters = {"dimensions": [3, 8, 8], "element_type": "uint8", "mean": 0, "scale": 1}
    job["inputs"] = [{**job["inputs"][0], "parameters": parameters}]
    if name in ("torchscript", "state_dict", "safetensors"):
        # The file does not say what it takes, and the manifest says the wrong thing.
        fails(net_worker, job, "framework", "images", "uint8 [1, 3, 8, 8]")
    else:
        fails(net_worker, job, "request", "input images takes float32", "makes uint8")


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_shape_is_named(net_worker: Process, net_job: NetJob, name: str) -> None:
    job = job_of(net_job, name)
    given = job["inputs"][0]
    job["inputs"] = [{**given, "parameters": {**given["parameters"], "dimensions": [3, 9, 8]}}]
    failed = net_worker.run(job).one("failed")
    assert "images" in failed["text"]
    assert any(f"[{each}]" in failed["text"] for each in ("1, 3, 9, 8", "1, 9, 8, 3")) or any(
        f"[batch, {each}]" in failed["text"] for each in ("3, 9, 8", "9, 8, 3")
    ), failed["text"]


def test_outputs_in_a_dict_are_found_by_their_names(
    net_worker: Process, net_job: NetJob, small_net: SmallNet
) -> None:
    model = {"constructor": "small_net:TwoAnswers", "files": {"weights": "net.pth"}}
    outputs = [{"type": "raw", "name": "scores"}, {"type": "raw", "name": "doubled"}]
    said = net_worker.run(net_job("pytorch", model, outputs=outputs))
    assert np.abs(scores(said) - small_net.expected).max() < TOLERANCE
    made = said.one("predictions")["predictions"][0]["tensors"][1]
    doubled = np.frombuffer(made["data"], made["dtype"])
    assert np.abs(doubled - 2 * small_net.expected[0]).max() < 2 * TOLERANCE


# ------------------------------------------------------------------ random weights


@pytest.mark.parametrize(
    ("framework", "constructor"),
    [("pytorch", "small_net:SmallNet"), ("tensorflow", "small_net_keras:small_net")],
)
def test_random_weights_are_drawn_with_the_seed(
    net_worker: Process, net_job: NetJob, framework: str, constructor: str
) -> None:
    model = {"constructor": constructor, "weights": "random"}
    said = [
        scores(net_worker.run(net_job(framework, dict(model), seed=seed))) for seed in (5, 6, 5)
    ]
    assert np.array_equal(said[0], said[2])
    assert not np.array_equal(said[0], said[1])
    trained = net_job(framework, {"constructor": constructor})
    fails(net_worker, trained, "request", "random weights", "say weights: random")


# ------------------------------------------------------------------ describing


def test_describing_imports_no_heavy_library(small_net: SmallNet) -> None:
    plugins = [f"--plugin={n}={PLUGINS / n}.py" for n in ("pytorch", "tensorflow", "mxnet")]
    answer = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", worker.BOOTSTRAP, str(WORKER)]
        + ["--describe", *plugins],
        capture_output=True,
        check=True,
        text=True,
    )
    described = json.loads(answer.stdout)
    imported = {line.rpartition("|")[2].strip() for line in answer.stderr.splitlines()}
    assert not imported & {"torch", "tensorflow", "keras"}
    seen = {each.name: each for each in frameworks_seen(described, "default")}
    assert {"pytorch", "tensorflow"} <= set(seen)
    absent = [each for each in described["unusable"] if each["name"] == "mxnet"][0]
    assert absent["missing"] and "mxnet" in absent["text"]  # it is not in this environment
    import torch

    assert seen["pytorch"].version == torch.__version__
    assert seen["pytorch"].packages["efficientnet-lite-pytorch"] == "0.1.0"
    assert "keras" in seen["tensorflow"].packages
    assert seen["pytorch"].devices[0] == seen["tensorflow"].devices[0] == "cpu"


def test_what_tensorflow_takes_once_begins_a_new_process(
    net_worker: Process, net_job: NetJob, small_net: SmallNet
) -> None:
    """Last: what comes after it imports everything anew."""
    before = net_worker.run(job_of(net_job, "saved_model")).one("opened")["settings"]
    assert (before["intra_op_threads"], before["onednn"]) == (1, "on")
    settings = {"threads": 2, "inter_op_threads": 1, "onednn": "off"}
    said = net_worker.run(job_of(net_job, "saved_model", settings=settings))
    assert np.abs(scores(said) - small_net.expected).max() < TOLERANCE
    after = said.one("opened")["settings"]
    assert {name: after[name] for name in ("intra_op_threads", "onednn")} == {
        "intra_op_threads": 2,
        "onednn": "off",
    }
    # The same process on the same pipe: nobody was told that it began anew.
    assert net_worker.popen.poll() is None
