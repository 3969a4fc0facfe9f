"""Where two forms of one network part: real layers, one of them changed on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from analysis.layer_divergence import layer_divergence
from bus.errors import InputError
from bus.messages import JobStarted, LayerOutput, LayersSaid, Message
from predictor_node.worker.frameworks import Spec, load
from predictor_node.worker.insides import sampled

MODELS = Path(__file__).parents[2] / "manifests" / "models"
FRAMEWORKS = Path(__file__).parents[2] / "predictor_node" / "worker" / "frameworks"
IMAGE = {"image": np.random.default_rng(0).random((1, 1, 28, 28), np.float32)}


def facts(layers: list[dict[str, Any]], input: str = "seven.png") -> list[Message]:
    common: dict[str, Any] = {"evaluation_id": "e", "job_id": "j", "attempt": 1, "node_id": "n"}
    words = ("incarnation", "model", "model_version", "model_digest", "framework")
    about: dict[str, Any] = dict.fromkeys((*words, "framework_version", "environment"), "x")
    told = msgspec.convert(layers, list[LayerOutput])
    return [
        JobStarted(**common, sequence=0, at_ns=0, **about),
        LayersSaid(**common, sequence=2, at_ns=0, run=0, input=input, first=5, layers=told[5:]),
        LayersSaid(**common, sequence=1, at_ns=0, run=0, input=input, first=0, layers=told[:5]),
    ]


def inside(framework: str, graph: Path, folder: Path, **about: Any) -> list[dict[str, Any]]:
    plugin = load(framework, str(FRAMEWORKS / f"{framework}.py"))
    spec = Spec(files={"graph": str(graph)}, settings={"threads": 1}, folder=str(folder), **about)
    return sampled(plugin.insides(spec, IMAGE))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return inside("onnxruntime", MODELS / "mnist-cnn.onnx", tmp_path_factory.mktemp("inside"))


def test_every_node_is_told(ours: list[dict[str, Any]]) -> None:
    assert [layer["operator"] for layer in ours] == [
        "Conv", "Relu", "MaxPool", "Conv", "Relu", "MaxPool", "Flatten", "Gemm", "Relu", "Gemm",
    ]  # fmt: skip
    assert ours[0]["shape"] == [1, 8, 28, 28] and len(ours[0]["sample"]) == 4 * 1024
    assert len(ours[-1]["sample"]) == 4 * 10


def test_the_last_layer_is_what_the_model_says(ours: list[dict[str, Any]]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(MODELS / "mnist-cnn.onnx"))
    said = session.run(None, IMAGE)[0]
    assert np.frombuffer(ours[-1]["sample"], "<f4") == pytest.approx(said.ravel(), abs=1e-5)
    assert (ours[-1]["low"], ours[-1]["high"]) == pytest.approx((said.min(), said.max()), abs=1e-5)


def test_two_frameworks_do_not_part(ours: list[dict[str, Any]], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    given = [{"name": "image", "type": "image"}]
    theirs = inside("pytorch", MODELS / "mnist-cnn.pt2", tmp_path, inputs=given)
    found = layer_divergence(facts(ours), facts(theirs))
    assert (found.places, found.first, found.only_a, found.only_b) == (10, "", [], [])
    assert [row.place for row in found.rows] == list("0123456789")
    assert max(row.relative or 0.0 for row in found.rows) < 1e-5


def test_the_changed_layer_is_named(ours: list[dict[str, Any]], tmp_path: Path) -> None:
    """The second convolution's weights are one percent larger."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(MODELS / "mnist-cnn.onnx"))
    conv = [node for node in model.graph.node if node.op_type == "Conv"][1]
    weight = next(each for each in model.graph.initializer if each.name == conv.input[1])
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.01, weight.name))
    onnx.save(model, str(tmp_path / "changed.onnx"))
    theirs = inside("onnxruntime", tmp_path / "changed.onnx", tmp_path)
    found = layer_divergence(facts(ours), facts(theirs))
    assert found.first == "3"
    assert [row.difference for row in found.rows[:3]] == [0.0, 0.0, 0.0]
    assert found.rows[3].relative == pytest.approx(0.01, rel=0.2)
    coarse = layer_divergence(facts(ours), facts(theirs), threshold=0.5)
    assert coarse.first == ""


def test_a_place_that_is_used_twice_is_two_places() -> None:
    def layer(name: str, value: float) -> dict[str, Any]:
        return sampled([(name, "X", np.full(4, value, np.float32))])[0]

    one = [layer("/a/Pad", 9), layer("/a/Conv", 1), layer("/act/Clip", 2), layer("/act_1/Clip", 3)]
    two = [layer("a", 1), layer("act", 2), layer("b", 0), layer("act", 5)]
    found = layer_divergence(facts(one), facts(two))
    # /act/Clip and /act_1/Clip follow each other: one place, the last output counts.
    assert [(row.place, row.difference) for row in found.rows] == [("a", 0.0), ("act", 1.0)]
    assert found.only_b == ["b", "act #2"]


def test_shapes_that_differ_are_said(ours: list[dict[str, Any]]) -> None:
    other = [dict(ours[0], shape=[1, 28, 28, 8]), *ours[1:]]
    row = layer_divergence(facts(ours), facts(other)).rows[0]
    assert row.difference is None and "shapes differ" in row.note


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda told: facts(told)[:1], "setting layer_outputs=1"),
        (lambda told: facts(told, "four.png"), "A told its layers for seven.png, B for four.png"),
        (lambda told: facts([dict(told[0], name="elsewhere")]), "no layer of A"),
    ],
)
def test_what_is_wrong_is_named(ours: list[dict[str, Any]], change: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        layer_divergence(facts(ours), change(ours))


def test_only_numbers_are_told() -> None:
    texts = np.array(["a", "b"])
    assert sampled([("x", "X", texts), ("y", "Y", np.zeros(0, np.float32))]) == []
    (told,) = sampled([("n", "N", np.arange(4096, dtype=np.int64))])
    assert np.frombuffer(told["sample"], "<f4")[-1] == 4095 and len(told["sample"]) == 4096
