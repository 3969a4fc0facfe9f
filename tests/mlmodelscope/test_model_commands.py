"""`models` with its filters and `model`: which are chosen, and what a person sees of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bus.errors import InputError
from bus.messages import FrameworkWanted, Manifest, ModelResources
from mlmodelscope.model_filters import Filters, bytes_of, chosen, shown_size, size_bytes

MODEL = "EfficientNet-Lite0"
SMALL = """\
name: Shown
version: 1.0
description: A model that is only looked at
framework: {name: onnxruntime}
model: {graph_path: none.onnx, weights: random}
inputs: [{type: image, name: pixels, parameters: {dimensions: [3, -1, -1]}}]
claims: [{metric: latency, value: 7, unit: ms, batch_size: 1, on: a telephone}]
attributes: {top1: 76.5, parameters: 1000}
"""


def named(name: str, framework: str = "onnxruntime", **fields: Any) -> Manifest:
    weights = fields.pop("weights", "trained")
    return Manifest(
        name=name,
        version="1.0.0",
        framework=FrameworkWanted(name=framework),
        model=ModelResources(graph_path="m", weights=weights),
        **fields,
    )


KNOWN = [
    named("Small", task="image_classification", attributes={"parameters": "4_000_000"}),
    named("Half", precision="float16", attributes={"parameters": 40_000_000}),
    named("Large", "pytorch", task="object_detection", attributes={"size_bytes": "600,000,000"}),
    named("Unsized", "PyTorch", weights="random", description="A mobile net for telephones"),
]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["Small", "Half", "Large", "Unsized"]),
        ({"task": "object detection"}, ["Large"]),
        ({"framework": "PYTORCH"}, ["Large", "Unsized"]),
        ({"max_size": "16MB"}, ["Small"]),
        ({"max_size": "80 MB"}, ["Small", "Half"]),
        ({"max_size": "1GiB"}, ["Small", "Half", "Large"]),
        ({"search": "Telephones MOBILE"}, ["Unsized"]),
        ({"search": "600"}, ["Large"]),
        ({"weights": "random"}, ["Unsized"]),
        ({"weights": "trained", "framework": "pytorch"}, ["Large"]),
        ({"search": "nothing of the kind"}, []),
    ],
)
def test_filters(filters: dict[str, str], names: list[str]) -> None:
    assert [manifest.name for manifest in chosen(KNOWN, Filters(**filters))] == names


def test_sizes() -> None:
    assert [size_bytes(manifest) for manifest in KNOWN] == [16_000_000, 80_000_000, 600_000_000, 0]
    assert [bytes_of(text) for text in ("5", "1kB", "1KiB", "1.5GB")] == [5, 1000, 1024, 1.5e9]
    assert [shown_size(size) for size in (0, 12, 1500, 16_000_000)] == [
        "",
        "12 B",
        "1.5 kB",
        "16 MB",
    ]
    with pytest.raises(InputError, match="expected a size such as 100MB"):
        bytes_of("large")


def test_models_are_filtered_and_one_is_shown(mlms, tmp_path: Path) -> None:
    small = ("models", "--task", "image_classification", "--max-size", "20MB")
    assert "18.6 MB" in mlms(*small).stdout
    found = json.loads(mlms(*small, "--output", "json").stdout)
    assert MODEL in {row["name"] for row in found}
    rows = json.loads(mlms("models", "--search", "imagenet classifier", "--output", "json").stdout)
    assert {row["weights"] for row in rows if row["name"] == MODEL} == {"trained"}
    assert "no model is like that" in mlms("models", "--framework", "mxnt").stdout
    wrong = mlms("models", "--max-size", "huge")
    assert wrong.returncode == 2 and "100MB" in wrong.stderr
    shown = json.loads(mlms("model", f"{MODEL}@^1", "--output", "json").stdout)
    assert shown["manifests"][0]["license"] == "Apache-2.0" and shown["versions"] == ["1.0.0"]
    assert shown["places"][0]["framework"] == "onnxruntime"
    (tmp_path / "mine.yml").write_text(SMALL)
    words = " ".join(mlms("model", "mine.yml").stdout.split())
    for said in (
        "A model that is only looked at",
        "weights: random: for timing only",
        "3×any×any",
        "What its author claims",
        "a telephone",
        "76.5 %",
        "Where it would run",
    ):
        assert said in words, said
    assert "did you mean" in mlms("model", "EfficientNet-Lite").stderr


def test_a_hidden_and_a_private_model(mlms, tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text(
        SMALL.replace("name: Shown", "name: Ghost") + "hidden: true\nvisibility: private\n"
    )
    (tmp_path / "none.onnx").write_bytes(b"x")
    assert mlms("publish", "mine.yml", "--user", "ann").returncode == 0
    try:
        assert "Ghost" not in mlms("models", "--user", "ann").stdout
        assert "Ghost" in mlms("models", "--all", "--user", "ann").stdout
        assert "Ghost" not in mlms("models", "--all", "--user", "bob").stdout
        assert "private to: ann" in mlms("model", "Ghost", "--user", "ann").stdout
        unseen = mlms("model", "Ghost", "--user", "bob")
        assert unseen.returncode == 2 and "unknown model" in unseen.stderr
    finally:
        assert mlms("unpublish", "Ghost@1.0.0", "--user", "ann").returncode == 0
