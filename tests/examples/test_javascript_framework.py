"""TensorFlow.js as a framework: the detector finds what it is known to find."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from predictor_node.worker import frameworks
from predictor_node.worker.errors import WorkerError

if TYPE_CHECKING:
    from conftest import InstallExample

DETECTIONS = "tower_0/detections"
IMAGES = "tower_0/images"


@pytest.fixture
def executable(install_example: InstallExample) -> Path:
    return install_example("javascript-framework") / "tfjs-framework.js"


@contextmanager
def opened(executable: Path, files: dict[str, str], **spec: Any) -> Iterator[tuple[Any, Any]]:
    framework = frameworks.load("tfjs", str(executable))
    outputs = [{"type": "object_detection", "name": DETECTIONS}]
    handle = framework.open(frameworks.Spec(files=files, outputs=outputs, **spec))
    try:
        yield framework, handle
    finally:
        framework.close(handle)


def photograph() -> np.ndarray:
    """scikit-image's cup of coffee, stretched to what the detector takes."""
    found = find_spec("skimage")
    folder = Path(found.origin).parent / "data" if found and found.origin else Path()
    cached = Path.home() / ".cache" / "mlmodelscope-tests" / "coffee.png"
    path = next((each for each in (folder / "coffee.png", cached) if each.exists()), None)
    if path is None:
        pytest.skip("the photograph coffee.png is not there: neither scikit-image nor the cache")
    image = Image.open(path).convert("RGB").resize((512, 512), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)[None]


def test_the_detector_sees_the_cup_and_the_table(
    executable: Path, centernet: dict[str, str]
) -> None:
    """Known from a run by hand: a cup (41 of COCO's 80 classes) .47, a dining table (60) .41."""
    image = photograph()
    with opened(executable, centernet, settings={"threads": "1"}, profile=True) as (tfjs, handle):
        assert handle.inputs == [{"name": IMAGES, "dtype": "float32", "shape": [1, 512, 512, 3]}]
        assert handle.outputs == [{"name": DETECTIONS, "dtype": "float32", "shape": [1, 100, 6]}]
        assert handle.settings == {"device": "cpu", "backend": "wasm", "threads": 1}
        starts_ns, durations_ns = [], []
        for _ in range(2):
            starts_ns.append(time.time_ns())
            (boxes,) = tfjs.predict(handle, {IMAGES: image})
            durations_ns.append(time.time_ns() - starts_ns[-1])
        measured = np.array(starts_ns[1:]), np.array(durations_ns[1:])
        layers = tfjs.layers(handle, *measured, 1)
    best = boxes[0][np.argsort(-boxes[0, :, 4])]
    assert [(round(float(score), 2), int(kind)) for score, kind in best[:2, 4:]] == [
        (0.47, 41),
        (0.41, 60),
    ]
    # The saucer and the cup lie in the middle of the picture, the table around them.
    assert best[0, :4] == pytest.approx([141, 28, 351, 331], abs=2)
    # Every kernel of the one measured call, inside it, one after the other.
    assert len(layers.layer) == len(layers.table) > 200
    assert {"FusedConv2D", "TopK", "GatherV2"} <= {row["operator"] for row in layers.table}
    assert layers.lost == 0
    ends_ns = layers.starts_ns + layers.durations_ns
    assert (layers.starts_ns[1:] >= ends_ns[:-1]).all()
    assert starts_ns[1] <= layers.starts_ns[0] and ends_ns[-1] <= starts_ns[1] + durations_ns[1]
    stem = next(row for row in layers.table if row["operator"] == "FusedConv2D")
    assert stem["outputs"] == [{"dtype": "float32", "shape": [1, 256, 256, 16]}]
    assert stem["output_bytes"] == 4 * 256 * 256 * 16


@pytest.mark.parametrize(
    ("spec", "kind", "words"),
    [
        ({"device": "gpu"}, "framework", "there is no device gpu; ask for cpu"),
        ({"settings": {"treads": 1}}, "request", "unknown setting treads; known: threads"),
        ({"settings": {"threads": 4}}, "request", "threads is 4; this backend has 1"),
        ({"outputs": [{"name": "boxes"}]}, "request", "no output boxes; known: tower_0/wh"),
        (
            {"files": {"graph": "/nowhere/model.json", "weights": ""}},
            "asset",
            "/nowhere/model.json",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_it_cannot_do_is_said(
    executable: Path, centernet: dict[str, str], spec: dict[str, Any], kind: str, words: str
) -> None:
    framework = frameworks.load("tfjs", str(executable))
    with pytest.raises(WorkerError, match=words) as caught:
        framework.open(frameworks.Spec(**{"files": centernet, **spec}))
    assert caught.value.kind == kind


def test_damaged_weights_are_an_asset_at_fault(
    executable: Path, centernet: dict[str, str], tmp_path: Path
) -> None:
    cut = tmp_path / "centernet.bin"
    cut.write_bytes(Path(centernet["weights"]).read_bytes()[:1_000_000])
    with (
        pytest.raises(WorkerError) as caught,
        opened(executable, {**centernet, "weights": str(cut)}),
    ):
        pass
    assert caught.value.kind == "asset"


def test_the_lockfile_names_no_registry() -> None:
    for name in ("javascript-framework", "javascript-client"):
        path = Path(__file__).parents[2] / "examples" / name / "package-lock.json"
        packages = json.loads(path.read_text())["packages"]
        assert len(packages) > 1
        assert not [key for key, package in packages.items() if "resolved" in package]
        assert all("integrity" in package for key, package in packages.items() if key)


def test_the_shipped_detector_runs_from_its_addresses(
    mlms: Any, install_example: InstallExample, wheels: Path, tmp_path: Path
) -> None:
    """By the command line, its files fetched from the npm registry by the node."""
    executable = install_example("javascript-framework") / "tfjs-framework.js"
    done = mlms(
        *("evaluate", "CenterNet-MobileNetV3", "--runs", 3, "--warmup", 1, "--output", "json"),
        MLMS_HOME=str(tmp_path / "home"),
        MLMS_CACHE=str(wheels),
        MLMS_FRAMEWORKS=f"tfjs={executable}",
    )
    assert done.returncode == 0, done.stderr
    (made,) = json.loads(done.stdout)["predictions"]
    found = [(box["label"], round(box["probability"], 2)) for box in made["boxes"][:2]]
    assert found == [("cup", 0.47), ("dining table", 0.41)]
