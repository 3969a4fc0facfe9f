"""torchvision's and timm's models in a worker that has them, as their lists describe them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from manifests.zoo import Zoo
from predictor_node.model_files import ModelFiles, described
from predictor_node.process import plugins

if TYPE_CHECKING:
    from conftest import Process, StartWorker

# timm brings nothing that its networks need beside torch and torchvision.
PACKAGES = ("torchvision==0.28.0", "timm==1.0.31")
TORCH = "2.13"
INSTALL_S = 120
MakeJob = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both libraries and nothing else, filled once a machine."""
    found = metadata.version("torch")
    if not found.startswith(f"{TORCH}."):
        pytest.skip(f"torchvision 0.28.0 is made for torch {TORCH}, and {found} is installed")
    kept = Path.home() / ".cache" / "mlmodelscope-tests" / "envs" / "torchvision-timm"
    if kept.exists():
        return kept
    part = kept.with_name(f"{kept.name}.{os.getpid()}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(part)]
    done = subprocess.run([*pip, *PACKAGES], capture_output=True, text=True, timeout=INSTALL_S)
    if done.returncode:
        shutil.rmtree(part, ignore_errors=True)
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        pytest.skip(f"no package index gives {', '.join(PACKAGES)}: {last}")
    try:
        part.rename(kept)
    except OSError:  # another session was faster
        shutil.rmtree(part)
    return kept


# The index's torchvision is built for CUDA: beside a CPU's torch its operators (boxes, decoders)
# cannot be loaded, and what registers them would fail. The networks below use none of them.
WITHOUT_OPERATORS = """
import sys, types
for name in ("_meta_registrations", "_autograd_registrations"):
    sys.modules[f"torchvision.{name}"] = types.ModuleType(f"torchvision.{name}")
"""


@pytest.fixture(scope="module")
def zoo_worker(
    libraries: Path, start_worker: StartWorker, tmp_path_factory: pytest.TempPathFactory
) -> Process:
    folder = tmp_path_factory.mktemp("without-operators")
    if "+cpu" in metadata.version("torch"):
        (folder / "sitecustomize.py").write_text(WITHOUT_OPERATORS)
    return start_worker(PYTHONPATH=f"{folder}{os.pathsep}{libraries}", OMP_NUM_THREADS="1")


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("torchvision/mobilenet_v3_small", 1000),
        ("torchvision/lraspp_mobilenet_v3_large", 21),
        ("timm/lcnet_050", 1000),
    ],
)
def test_a_network_runs_without_weights(
    zoo_worker: Process, make_job: MakeJob, name: str, classes: int
) -> None:
    manifest = Zoo().find(name)
    assert manifest is not None and manifest.model.weights == "random"
    run = {"queries": 1, "warmup": 0, "batch_size": 2}
    job = make_job(run, **described(manifest, ModelFiles(None, None, None, {})))
    job |= {"framework": "pytorch", "plugin": plugins()["pytorch"], "labels": ""}
    said = zoo_worker.run(job)
    assert not said.all("failed"), said.one("failed")["text"]
    made = said.one("predictions")["predictions"][0]
    opened = said.one("opened")
    if "map" in made:
        assert (made["map"]["height"], made["map"]["width"]) == (400, 600)  # of the photograph
    else:
        assert len(made["classes"]) == 5
        assert all(0 <= one["index"] < classes for one in made["classes"])
    assert opened["settings"]["device"] == "cpu"
