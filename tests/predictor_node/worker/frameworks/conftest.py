"""One small network in every format, from weights and for images that are drawn with a seed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from predictor_node import worker

if TYPE_CHECKING:
    from ..conftest import Process, StartWorker

PLUGINS = Path(worker.__file__).parent / "frameworks"
AUTHOR = Path(__file__).parent / "author_small_net.py"
LIBRARIES = ("torch", "tensorflow-cpu", "keras", "onnx", "safetensors")
MEAN, SCALE = 127, 64
# A package that brings models, as one that is installed looks.
PACKAGE = {
    "small_net.py": """
import os
import torch


class SmallNet(torch.nn.Module):
    def __init__(self, classes: int = 5, label: str = "7"):
        super().__init__()
        assert type(classes) is int and type(label) is str
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.dense = torch.nn.Linear(144, classes)

    def forward(self, images):
        return self.dense(torch.relu(self.conv(images)).flatten(1))


class TwoAnswers(SmallNet):
    def forward(self, images):
        scores = super().forward(images)
        return {"doubled": scores * 2, "scores": scores}


def small_net() -> SmallNet:
    return SmallNet()


def anything(path: str):
    open(path, "w").close()
""",
    "small_net_keras.py": """
import keras


def small_net() -> keras.Model:
    image = keras.Input((8, 8, 3), name="images")
    made = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    made = keras.layers.Dense(5, name="scores")(keras.layers.Flatten()(made))
    return keras.Model(image, made)
""",
    "small_net-1.0.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: small-net\nVersion: 1\n",
    "small_net-1.0.0.dist-info/top_level.txt": "small_net\nsmall_net_keras\n",
}


@dataclass(frozen=True)
class SmallNet:
    """The files of the network, its images, and what it says of them, computed by numpy alone."""

    folder: Path
    images: tuple[Path, ...]
    tensors: np.ndarray
    expected: np.ndarray

    @property
    def site(self) -> Path:
        return self.folder / "site"


def _weights() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(11)
    return {
        "conv": draw.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32),
        "conv_bias": draw.normal(0, 0.3, 4).astype(np.float32),
        "dense": draw.normal(0, 0.1, (5, 144)).astype(np.float32),
        "dense_bias": draw.normal(0, 0.3, 5).astype(np.float32),
    }


def _predicted(weights: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """The network, in double precision: every window times every filter, ReLU, dense."""
    windows = np.lib.stride_tricks.sliding_window_view(images.astype(np.float64), (3, 3), (2, 3))
    made = np.einsum("nchwij,fcij->nfhw", windows, weights["conv"].astype(np.float64))
    made = np.maximum(made + weights["conv_bias"][:, None, None], 0).reshape(len(images), -1)
    return made @ weights["dense"].T.astype(np.float64) + weights["dense_bias"]


@pytest.fixture(scope="session")
def small_net(tmp_path_factory: pytest.TempPathFactory) -> SmallNet:
    weights, folder = _weights(), _authored()
    pixels = np.random.default_rng(3).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    pictures = tmp_path_factory.mktemp("images")
    paths = tuple(pictures / f"{number}.png" for number in range(len(pixels)))
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path)
    tensors = (pixels.astype(np.float32).transpose(0, 3, 1, 2) - MEAN) / SCALE
    return SmallNet(folder, paths, tensors, _predicted(weights, tensors))


def _authored() -> Path:
    """The formats, written once a machine for these versions of the libraries."""
    said = [AUTHOR.read_text(), repr(PACKAGE), *(f"{name} {version(name)}" for name in LIBRARIES)]
    key = hashlib.sha256("\0".join(said).encode()).hexdigest()[:16]
    cache = Path.home() / ".cache" / "mlmodelscope-tests"
    folder = cache / f"small-net-{key}"
    if not folder.exists():
        part = cache / f"small-net-{key}.{os.getpid()}"
        for name, content in PACKAGE.items():
            (part / "site" / name).parent.mkdir(parents=True, exist_ok=True)
            (part / "site" / name).write_text(content)
        np.savez(part / "weights.npz", **_weights())
        subprocess.run([sys.executable, str(AUTHOR), str(part)], check=True, capture_output=True)
        try:
            part.rename(folder)
        except OSError:  # another session was faster
            shutil.rmtree(part)
    return folder


@pytest.fixture(scope="session")
def net_worker(start_worker: StartWorker, small_net: SmallNet) -> Process:
    """One worker for all frameworks, as a node has one for an environment."""
    return start_worker(PYTHONPATH=str(small_net.site), OMP_NUM_THREADS="1")


NetJob = Callable[..., dict[str, Any]]


@pytest.fixture
def net_job(small_net: SmallNet, tmp_path: Path) -> Iterator[NetJob]:
    """A job for the network; `model` says which of its files, the others replace fields."""

    def make(framework: str, model: dict[str, Any], **changes: Any) -> dict[str, Any]:
        layout = "NHWC" if framework == "tensorflow" else "NCHW"
        files = {
            role: str(small_net.folder / name) if name else ""
            for role, name in {"graph": "", "weights": "", **model.pop("files", {})}.items()
        }
        job = {
            "job_id": "job",
            "framework": framework,
            "plugin": str(PLUGINS / f"{framework}.py"),
            "model": {
                "name": "SmallNet",
                "version": "1.0.0",
                "key": f"{files} {model}",
                "files": files,
                **model,
            },
            "inputs": [
                {
                    "type": "image",
                    "name": "images",
                    "parameters": {
                        "dimensions": [3, 8, 8],
                        "layout": layout,
                        "mean": MEAN,
                        "scale": SCALE,
                    },
                }
            ],
            "outputs": [{"type": "raw", "name": "scores"}],
            "items": [{"name": path.name, "path": str(path)} for path in small_net.images],
            "runs": [{"index": 0, "queries": 3, "warmup": 1}],
            "settings": {"device": "cpu", "threads": 1},
            "folder": str(tmp_path),
        }
        return job | changes

    yield make
