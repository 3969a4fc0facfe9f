"""Two versions of ONNX Runtime on one node: each evaluates the same model, and says which it is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import onnxruntime
import pytest

pytestmark = pytest.mark.timeout(600)  # the first time, environments are made
MODEL = "EfficientNet-Lite0"
QUICK = ("--runs", "10", "--warmup", "1", "--threads", "1", "--output", "json")


def version_in(python: str) -> str:
    asked = [python, "-c", "import onnxruntime; print(onnxruntime.__version__)"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def test_two_versions_side_by_side(mlms, home_with_environments: Path) -> None:
    where = {"MLMS_HOME": str(home_with_environments)}
    new = json.loads(mlms("evaluate", MODEL, *QUICK, **where).stdout)
    asked = mlms("evaluate", MODEL, *QUICK, "--framework", "onnxruntime@1.20.*", **where)
    old = json.loads(asked.stdout)

    system = json.loads((home_with_environments / "system.json").read_text())
    pythons = dict(pair.split("=") for pair in system["variables"]["MLMS_ENVIRONMENTS"].split(","))
    assert (new["environment"], new["framework_version"]) == ("default", onnxruntime.__version__)
    assert (old["environment"], old["framework_version"]) == ("old", version_in(pythons["old"]))
    assert old["framework_version"] == "1.20.1" != new["framework_version"]

    for one, other in zip(new["predictions"], old["predictions"], strict=True):
        scores = {made["index"]: made["probability"] for made in other["classes"]}
        assert len(scores) == 5
        for made in one["classes"]:
            assert scores[made["index"]] == pytest.approx(made["probability"], abs=1e-4)

    by_name = mlms("evaluate", MODEL, *QUICK, "--environment", "old", **where)
    assert json.loads(by_name.stdout)["framework_version"] == "1.20.1"

    rows = json.loads(mlms("history", "--limit", "3", "--output", "json", **where).stdout)
    measured = [row["framework"] for row in rows]
    new_name = f"onnxruntime {onnxruntime.__version__}"
    assert measured == ["onnxruntime 1.20.1", "onnxruntime 1.20.1", new_name]


def test_the_environments_are_listed_and_a_wrong_one_is_named(mlms, home_with_environments) -> None:
    where = {"MLMS_HOME": str(home_with_environments)}
    (node,) = json.loads(mlms("nodes", "--output", "json", **where).stdout)
    assert "onnxruntime 1.20.1 (old)" in node["frameworks"]
    assert f"onnxruntime {onnxruntime.__version__}" in node["frameworks"]

    done = mlms("evaluate", MODEL, *QUICK, "--environment", "older", **where)
    words = " ".join(done.stderr.split())
    assert done.returncode == 3 and "environment: wanted older" in words, words
    assert "onnxruntime 1.20.1 in old" in words

    done = mlms("nodes", **where, MLMS_ENVIRONMENTS="other=/usr/bin/python3")
    words = " ".join(done.stderr.split())
    assert done.returncode == 1 and "MLMS_ENVIRONMENTS=" in words and "end it first" in words, words
