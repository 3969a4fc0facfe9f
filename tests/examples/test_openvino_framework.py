"""A framework from outside of our tree: installed elsewhere, found, run, and right."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from bus.errors import EvaluationError
from bus.messages import Evaluate, ModelOpened, Wanted
from mlmodelscope import Client
from predictor_node.process import plugins

pytestmark = pytest.mark.timeout(600)  # the first time, environments are made
ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "manifests" / "models"
MODEL = "EfficientNet-Lite0"
COFFEE = "package://scikit-image==0.26.0/skimage/data/coffee.png"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """The shipped model, for OpenVINO: one graph, one set of weights, another framework."""
    text = (SHIPPED / "efficientnet-lite0.yml").read_text()
    wanted = text.replace("name: onnxruntime", "name: openvino").replace('">=1.17"', '">=2024"')
    assert wanted != text
    (tmp_path / "openvino.yml").write_text(wanted)
    graph = (SHIPPED / "efficientnet-lite0.onnx").read_bytes()
    (tmp_path / "efficientnet-lite0.onnx").write_bytes(graph)
    return tmp_path / "openvino.yml"


@pytest.fixture
def url(home_with_environments: Path) -> str:
    return json.loads((home_with_environments / "system.json").read_text())["bus_url"]


def test_the_node_itself_does_not_bring_it() -> None:
    assert "openvino" not in plugins()
    with pytest.raises(ImportError):
        __import__("openvino")


async def test_it_agrees_with_onnx_runtime(url: str, manifest: Path) -> None:
    async with Client(url) as scope:
        asked = {"inputs": [COFFEE], "runs": 10, "threads": 1}
        evaluation = await scope.evaluate(await scope.manifest(manifest), **asked)
        ours = await evaluation.result()
        (opened,) = [fact for fact in evaluation.facts if isinstance(fact, ModelOpened)]
        theirs = await (await scope.evaluate(MODEL, **asked)).result()
    assert (ours.framework, ours.environment) == ("openvino", "openvino")
    assert ours.framework_version == "2026.4.1"
    assert ours.latency[0].queries == 10 and ours.latency[0].p50_ns > 0
    ((one,), (other,)) = (result.predictions for result in (ours, theirs))
    assert [found.index for found in one.classes] == [found.index for found in other.classes]
    for found, expected in zip(one.classes, other.classes, strict=True):
        assert found.label == expected.label
        assert found.probability == pytest.approx(expected.probability, abs=1e-3)
    assert (opened.settings["intra_op_threads"], opened.settings["precision"]) == (1, "float32")
    assert list(opened.providers) == ["CPU"] and len(opened.providers["CPU"]) > 50


COLOURS = """
import numpy as np, openvino as ov
from openvino import opset13 as ops
weights = np.full((3, 8, 8, 3), -0.5, np.float32)
for channel in range(3):
    weights[channel, :, :, channel] = 1.0
pixels = ops.parameter([-1, 3, 8, 8], np.float32, name="pixels")
flat = ops.reshape(pixels, np.array([0, 192], np.int64), special_zero=True)
scores = ops.matmul(flat, ops.constant(weights.reshape(-1, 3) / 8), False, False)
scores.output(0).get_tensor().set_names({"scores"})
pixels.output(0).get_tensor().set_names({"pixels"})
ov.save_model(ov.Model([scores], [pixels]), "colours.xml", compress_to_fp16=False)
"""
MANIFEST = """
name: Colours
version: 1.0.0
framework: {name: openvino}
inputs:
  - {type: image, name: pixels, parameters: {dimensions: [3, 8, 8], mean: 0, scale: 255}}
outputs: [{type: classification, name: scores, parameters: {transform: softmax}}]
model: {graph_path: colours.xml, weights_path: colours.bin}
"""


async def test_openvinos_own_format(url: str, home_with_environments: Path, tmp_path: Path) -> None:
    system = json.loads((home_with_environments / "system.json").read_text())
    pythons = dict(pair.split("=") for pair in system["variables"]["MLMS_ENVIRONMENTS"].split(","))
    subprocess.run([pythons["openvino"], "-c", COLOURS], cwd=tmp_path, check=True)
    (tmp_path / "colours.yml").write_text(MANIFEST)
    Image.new("RGB", (40, 30), (30, 200, 30)).save(tmp_path / "green.png")
    async with Client(url) as scope:
        model = await scope.manifest(tmp_path / "colours.yml")
        asked = await scope.evaluate(model, inputs=[tmp_path / "green.png"], runs=2)
        result = await asked.result()
    # Green's score is 8 × 1.5 × (200 - 30) / 255 = 8 above the others'.
    best = result.predictions[0].classes[0]
    assert (best.index, best.probability) == (1, pytest.approx(1 / (1 + 2 * math.exp(-8))))
    assert result.framework == "openvino"


async def test_a_model_is_held_open_in_its_environment(url: str, manifest: Path) -> None:
    async with Client(url) as scope:
        model = await scope.manifest(manifest)
        async with scope.open(model, environment="openvino", threads=1) as held:
            (prediction,) = await held.predict([COFFEE])
    assert prediction.classes[0].label == "espresso"


async def test_a_setting_that_it_does_not_know(url: str, manifest: Path) -> None:
    async with Client(url) as scope:
        request = Evaluate(
            evaluation_id=f"{7:032x}",
            model=MODEL,
            manifest=await scope.manifest(manifest),
            wanted=Wanted(environment="openvino"),
            settings={"precison": "float16"},
        )
        with pytest.raises(EvaluationError, match="did you mean precision"):
            await (await scope.submit(request)).result()
