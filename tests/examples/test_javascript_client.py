"""A client in another language, written from docs/messages.md, sees what ours sees."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlmodelscope import embedded

if TYPE_CHECKING:
    from conftest import InstallExample

QUERIES = 11


def run(client: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", "evaluate.js", *map(str, arguments)],
        capture_output=True,
        cwd=client,
        text=True,
        timeout=100,
    )


def test_it_says_what_show_says(home: Path, mlms, install_example: InstallExample) -> None:
    client = install_example("javascript-client")
    with embedded.joined(home) as system:
        done = run(client, system.bus_url, "EfficientNet-Lite0", QUERIES)
    assert done.returncode == 0, done.stderr
    found = re.search(r"^evaluation ([0-9a-f]{32})$", done.stdout, re.M)
    assert found
    shown = mlms("show", found[1], "--output", "json")
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout)
    wanted = f"{result['model']} {result['model_version']} on {result['framework']}"
    assert f"{wanted} {result['framework_version']}\n" in done.stdout
    said = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    assert said == [
        [prediction["input"], score["label"], f"{score['probability']:.4f}"]
        for prediction in result["predictions"]
        for score in prediction["classes"]
    ]
    assert ["coffee.png", "espresso", "0.95"] in [[*row[:2], row[2][:4]] for row in said]
    (row,) = result["latency"]
    assert row["queries"] == QUERIES
    assert f"batch 1: median {row['p50_ns'] / 1e6:.3f} ms of {QUERIES} queries" in done.stdout


def test_a_refusal_is_said(home: Path, install_example: InstallExample) -> None:
    client = install_example("javascript-client")
    with embedded.joined(home) as system:
        done = run(client, system.bus_url, "No-Such-Model")
    assert done.returncode == 1
    assert "Refused: " in done.stderr and "No-Such-Model" in done.stderr


def test_it_tells_how_it_is_used(install_example: InstallExample) -> None:
    done = run(install_example("javascript-client"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: node evaluate.js" in done.stderr


@pytest.mark.parametrize(
    ("numbers", "middle"), [([3, 1, 2], 2), ([4, 1, 3, 2], 2.5), ([10, 9, 100], 10), ([7], 7)]
)
def test_its_median_is_the_median(
    install_example: InstallExample, numbers: list[int], middle: float
) -> None:
    """Numbers, not text: JavaScript sorts 100 before 9 unless told otherwise."""
    assert statistics.median(numbers) == middle
    client = install_example("javascript-client")
    script = f"import {{ median }} from './messages.js'; console.log(median({numbers}))"
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script], capture_output=True, cwd=client, text=True
    )
    assert float(done.stdout) == middle, done.stderr
