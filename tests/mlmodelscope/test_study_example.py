"""The example study: its models are the package's own, with any batch; its file reads."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest

from mlmodelscope.studies import own_manifests, study_of, sweep_wishes

EXAMPLE = Path(__file__).parents[2] / "examples" / "study-onnx-topologies"
SMALL = {"light_squeezenet": "SqueezeNet", "light_shufflenet": "ShuffleNet"}


@pytest.fixture(scope="module")
def making() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_models", EXAMPLE / "make_models.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answers(model: str | bytes, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (said,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(said).reshape(len(images), -1)


@pytest.mark.parametrize("stem", SMALL)
def test_a_freed_model_says_what_the_packages_says(making: ModuleType, stem: str) -> None:
    original = making.LIGHT / f"{stem}.onnx"
    model = onnx.load(original)
    making.concrete(model.graph)
    making.freed(model.graph)
    model.ir_version = 8
    assert not [node for node in model.graph.node if node.op_type == "ConstantOfShape"]
    images = np.random.default_rng(0).random((3, 3, 224, 224), np.float32)
    one_by_one = [answers(str(original), images[at : at + 1]) for at in range(3)]
    together = answers(model.SerializeToString(), images)
    assert together == pytest.approx(np.concatenate(one_by_one), abs=1e-5)


def test_its_study_runs_each_model_in_both_frameworks(
    making: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("study.yml", "gradient.png"):
        shutil.copy(EXAMPLE / name, tmp_path)
    monkeypatch.setattr(making, "NAMES", SMALL)
    monkeypatch.setattr("sys.argv", ["make_models.py", str(tmp_path / "models")])
    making.main()
    study = study_of(tmp_path / "study.yml", {})
    own = own_manifests(study)
    cells = {
        (own[wish.model].name, wish.asked.framework, own[wish.model].framework.name)
        for wish in sweep_wishes(study, {}, own)
    }
    both = ("onnxruntime", "openvino")
    assert cells == {(name, framework, framework) for name in SMALL.values() for framework in both}
    assert {manifest.model.weights for manifest in own.values()} == {"constant"}
