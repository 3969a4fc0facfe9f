"""`mlmodelscope zoo`, and the libraries' models in the list of all."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]
LIBRARIES = ["torchvision", "timm", "keras", "onnx"]


def test_the_lists_are_shown(mlms: Command) -> None:
    done = mlms("zoo", "--output", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["library"] for row in rows] == LIBRARIES
    assert sum(row["models"] for row in rows) == 1506
    assert {row["list"] for row in rows} == {"shipped"}


def test_refreshing_writes_into_the_data_folder(tmp_path: Path, mlms: Command) -> None:
    """Without any of the libraries but onnx: the others' environments are elsewhere."""
    hide = tmp_path / "hide"
    hide.mkdir()
    for name in ("torchvision", "timm", "keras"):
        (hide / f"{name}.py").write_text("raise ImportError('hidden')")
    done = mlms(
        "zoo", "--refresh", "--output", "json", MLMS_HOME=str(tmp_path), PYTHONPATH=f"{hide}:{ROOT}"
    )
    assert done.returncode == 1 and "keras: not listed: ImportError: hidden" in done.stderr
    lists = {row["library"]: row["list"] for row in json.loads(done.stdout)}
    assert lists["onnx"] == str(tmp_path / "zoo" / "onnx.json")
    assert lists["keras"] == "shipped"


def test_models_lists_them_all(mlms: Command) -> None:
    done = mlms("models", "--output", "json")
    assert done.returncode == 0, done.stderr
    names = {row["name"] for row in json.loads(done.stdout)}
    assert len(names) > 1506
    assert {"EfficientNet-Lite0", "onnx/AlexNet", "timm/resnet50", "keras/MobileNetV2"} <= names
