"""The shipped detector from photograph to named boxes, as its manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from manifests.catalog import read
from predictor_node.worker import frameworks
from predictor_node.worker.job import Item
from predictor_node.worker.modalities import image
from predictor_node.worker.outputs import read_all
from predictor_node.worker.outputs.labels import read_labels
from predictor_node.worker.outputs.reading import Reading

if TYPE_CHECKING:
    from conftest import InstallExample

MODELS = Path(__file__).parents[2] / "manifests" / "models"
COFFEE = Path.home() / ".cache" / "mlmodelscope-tests" / "coffee.png"


def test_the_cup_is_where_it_is(install_example: InstallExample, centernet: dict[str, str]) -> None:
    if not COFFEE.exists():
        pytest.skip("the photograph coffee.png is not in the cache")
    manifest = read(MODELS / "centernet.yml")
    (given,), outputs = manifest.inputs, msgspec.to_builtins(manifest.outputs)
    parameters = image.read_parameters(msgspec.to_builtins(given))
    opened = image.open(Item("coffee.png", path=str(COFFEE)), parameters)
    tensor = image.tensors(opened, parameters)
    framework = frameworks.load(
        "tfjs", str(install_example("javascript-framework") / "tfjs-framework.js")
    )
    handle = framework.open(frameworks.Spec(files=centernet, outputs=outputs))
    try:
        (found,) = framework.predict(handle, {given.name: tensor})
    finally:
        framework.close(handle)
    labels = read_labels(str(MODELS / "coco-80.json"))
    reading = Reading(labels, about=image.about(opened, parameters))
    boxes = read_all({outputs[0]["name"]: found}, outputs, reading)["boxes"]
    assert [box["label"] for box in boxes[:2]] == ["cup", "dining table"]
    # Measured by eye in the photograph: the cup without its handle and saucer.
    corners = [boxes[0][side] for side in ("x1", "y1", "x2", "y2")]
    assert corners == pytest.approx([172, 20, 411, 258], abs=12)
