"""The perceptron in C through the command line, as a person would plug it in."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

EXAMPLE = Path(__file__).parents[2] / "examples" / "c-framework"
TRAINED = 1200
DIGITS = (0, 1, 2, 4, 5)  # the first unseen 3 looks like a 7 to it, to numpy too


def test_an_executable_is_evaluated_like_any_framework(mlms, tmp_path: Path) -> None:
    for name in ("cc", "make"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    example = Path(shutil.copytree(EXAMPLE, tmp_path / "c-framework"))
    subprocess.run(["make", "--silent", "mlp"], cwd=example, check=True)
    digits = load_digits()
    (tmp_path / "digits").mkdir()
    for digit in DIGITS:
        place = TRAINED + int(np.argmax(digits.target[TRAINED:] == digit))
        pixels = np.rint(digits.images[place] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "digits" / f"{digit}.png")
    done = mlms(
        *("evaluate", example / "digits.yml", "--input", tmp_path / "digits"),
        *("--runs", 10, "--batch-size", "1,5", "--trace", "framework", "--output", "json"),
        MLMS_HOME=str(tmp_path / "home"),
        MLMS_FRAMEWORKS=f"mlp={example / 'mlp'}",
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["framework"], result["framework_version"]) == ("mlp", "1.0.0")
    decoder = result["effective"].pop("decoder")
    assert decoder.startswith("pillow") and result["effective"] == {"device": "cpu", "threads": 1}
    said = {made["input"]: made["classes"][0]["index"] for made in result["predictions"]}
    assert said == {f"{digit}.png": digit for digit in DIGITS}
    assert [row["batch_size"] for row in result["latency"]] == [1, 5]
    # Each prediction once more, as the executable timed it: the rest of the call is the pipe.
    assert result["spans"]["framework"] == 20
    assert result["lost_spans"] == 0
