"""`study` as a person types it: its parts, its figures, its site, what is wrong with it."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bus.errors import NotStoredError
from bus.messages import JobStarted
from mlmodelscope import pictures, plots_study
from mlmodelscope.cli import main
from mlmodelscope.client import Client
from mlmodelscope.grids import wishes
from mlmodelscope.studies import study_of, sweep_grid
from mlmodelscope.study_figures import NAMES

LOOKED_AT = {(1280, "light"): ("index", "tradeoffs", "layers"), (390, "dark"): ("index", "layers")}
QUICK = ("--threads", "1", "--runs", "8", "--no-ceilings")
DIGITS = (
    "study", "--models", "MNIST-CNN", "--frameworks", "onnxruntime,pytorch,tensorflow@^1",
    "--batch-size", "1,2", "--dataset", "MNIST-5k", "--limit", "30", "--trace", "framework",
    "--name", "digits", *QUICK,
)  # fmt: skip


_found: dict[str, Any] = {}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study") / "site"


@pytest.fixture
def studied(mlms: Any, site: Path) -> dict[str, Any]:
    """The figures of a study with a framework that no node has, by name; its site is written."""
    if not _found:
        done = mlms(*DIGITS, "--output", "json", "--site", site)
        assert done.returncode == 1, done.stderr  # a cell failed
        _found.update({figure["name"]: figure for figure in json.loads(done.stdout)})
    return _found


def history(mlms: Any) -> set[str]:
    done = mlms("history", "--limit", "1000", "--output", "json")
    return {row["evaluation_id"] for row in json.loads(done.stdout)}


def test_every_figure_and_what_failed(mlms: Any, studied: dict[str, Any], site: Path) -> None:
    assert tuple(studied) == NAMES
    peaks = {row["framework"].split()[0]: row for row in studied["peak-throughput"]["rows"]}
    assert set(peaks) == {"onnxruntime", "pytorch", "tensorflow@^1"}
    assert peaks["onnxruntime"]["peak_throughput"] > 0
    why = peaks["tensorflow@^1"]["na"]["peak_throughput"]
    assert "tensorflow version: wanted >=2.16 and ^1" in why
    states = [(row["part"], row["state"]) for row in studied["cells"]["rows"]]
    assert states.count(("sweep", "failed")) == 2 and states.count(("sweep", "measured")) == 4
    assert states.count(("trace", "measured")) == 2 == states.count(("dataset", "measured"))
    (top1, *_) = [row for row in studied["accuracy"]["rows"] if row["name"] == "top1"]
    assert 0.7 < top1["value"] <= 1 and top1["items"] == 30
    stacks = {row["framework"].split()[0] for row in studied["layers"]["rows"]}
    assert stacks == {"onnxruntime", "pytorch"}
    kinds = {row["kind"] for row in studied["layers"]["rows"]}
    assert {"convolution", "pooling", "matrix product"} <= kinds
    first = studied["tradeoffs"]["rows"][0]
    assert first["framework"].startswith("onnxruntime") and first["best"] is True
    assert first["cost"] is None and "no label `price`" in first["na"]["cost"]
    assert first["energy_j"] is not None or first["na"]["energy_j"]


def test_a_second_time_nothing_is_measured(
    mlms: Any, studied: dict[str, Any], site: Path, tmp_path: Path
) -> None:
    before = history(mlms)
    (site / "model-old.html").write_text("of a model that is no longer there")
    done = mlms(*DIGITS, "--output", "json", "--site", site)
    assert done.returncode == 1 and history(mlms) == before
    again = {figure["name"]: figure for figure in json.loads(done.stdout)}
    assert again["peak-throughput"] == studied["peak-throughput"]
    assert not (site / "model-old.html").exists()
    every = ("--stored", "--what", "all", "--output", "csv", "--to", "rows")
    assert mlms("study", site / "study.yml", *every).returncode == 1
    assert sorted(path.stem for path in (tmp_path / "rows").iterdir()) == sorted(NAMES)
    with (tmp_path / "rows" / "peak-throughput.csv").open() as file:
        rows = list(csv.DictReader(file))
    frameworks = [row["framework"].split()[0] for row in rows]
    assert frameworks == ["onnxruntime", "pytorch", "tensorflow@^1"]
    assert rows[-1]["peak_throughput"].startswith("n/a: it was not measured")


def test_figures_are_files_too(
    mlms: Any, studied: dict[str, Any], site: Path, tmp_path: Path
) -> None:
    which = ("--stored", "--what", "peak-throughput,accuracy,cells", "--to", "figures")
    assert mlms("study", site / "study.yml", *which, "--output", "html").returncode == 1
    pages = {path.stem: path.read_text() for path in (tmp_path / "figures").glob("*.html")}
    assert sorted(pages) == ["accuracy", "cells", "peak-throughput"]
    assert "plotly" in pages["accuracy"] and "tensorflow" in pages["cells"]
    assert not re.search(r"<(?:script|link|img)[^>]*(?:href|src)=", "".join(pages.values()))
    if not any(map(shutil.which, pictures.BROWSERS)):
        pytest.skip("no browser to draw pictures with")
    done = mlms("study", site / "study.yml", *which, "--output", "png")
    assert "cells: has rows and no plot" in done.stderr
    drawn = sorted((tmp_path / "figures").glob("*.png"))
    assert [path.stem for path in drawn] == ["accuracy", "peak-throughput"]
    for path in drawn:
        shown = Image.open(path).convert("RGB")
        assert shown.width == 1000 and len(shown.getcolors(1 << 24) or ()) > 50


def test_the_site_stands_alone(studied: dict[str, Any], site: Path) -> None:
    pages = sorted(site.glob("*.html"))
    names = ("bounds", "index", "latency", "layers", "systems", "throughput", "tradeoffs")
    assert [p.stem for p in pages if not p.stem.startswith("model-")] == sorted(names)
    for path in pages:
        text = path.read_text()
        for link in re.findall(r'(?:href|src)="([^"#]+)', text):
            assert link.startswith("data:") or (site / link).exists(), (path.name, link)
    index = (site / "index.html").read_text()
    assert "mlmodelscope study study.yml --site again" in index and "cells failed" in index
    systems = (site / "systems.html").read_text()
    assert "Environment of " in systems and "onnxruntime" in systems
    whole = json.loads((site / "rows" / "layers.json").read_text())
    assert whole["rows"] == studied["layers"]["rows"]


async def test_a_browser_draws_it(browser: Any, studied: dict[str, Any], site: Path) -> None:
    said: list[str] = []
    for (width, scheme), names in LOOKED_AT.items():
        context = await browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        page = await context.new_page()
        page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda r: None if r.url.startswith(("file:", "data:")) else said.append(r.url),
        )
        for path in (site / f"{name}.html" for name in names):
            await page.goto(path.as_uri())
            asked = await page.locator("[data-figure]").count()
            drawn = await page.locator(".main-svg .plot, .main-svg .cartesianlayer").count()
            assert drawn >= asked, path.name
            wide = "document.documentElement.scrollWidth <= window.innerWidth"
            assert await page.evaluate(wide), f"{path.name} is wider than {width}"
        ink = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ink == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(18, 23, 29)")
    assert not said


def test_every_figure_with_numbers_has_a_plot(studied: dict[str, Any]) -> None:
    assert set(NAMES) - set(plots_study.DRAW) == {"systems", "cells"}


# ------------------------------------------------------------------ what is wrong

WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no such model": (("--models", "MNIST-CN"), "did you mean MNIST-CNN"),
    "nothing measured yet": (
        ("--models", "MNIST-CNN", "--name", "never", "--stored"),
        "nothing of this study was measured yet: the same command without --stored measures it",
    ),
    "no such baseline": (
        ("--models", "MNIST-CNN", "--baseline", "nowhere"),
        "unknown baseline node 'nowhere'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_studies(mlms: Any, case: str) -> None:
    words, text = WRONG[case]
    done = mlms("study", *words, *QUICK)
    assert done.returncode == 2, done.stderr
    assert text in " ".join(done.stderr.split()), done.stderr


WRONG_AT_ONCE: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing to study": ((), "expected a study's FILE, or --models a,b,c"),
    "no such file": (("none.yml",), "none.yml: cannot be read as a study"),
    "a field that is none": (("wrong.yml",), "wrong.yml:2: unknown field 'bacth_sizes'; did you"),
    "no batch": (("--models", "x", "--batch-size", "0"), "expected whole numbers from 1"),
    "no number": (("--models", "x", "--batch-size", "two"), "study: batch_sizes[0]: expected"),
    "no such level": (("--models", "x", "--trace", "deep"), "unknown trace level 'deep'"),
    "no such figure": (("--models", "x", "--what", "peaks"), "unknown figure 'peaks'"),
    "a folder of others": (("--models", "x", "--site", "/"), "holds no study's site"),
    "several figures to one stream": (
        ("--models", "x", "--output", "csv"),
        "name their folder with --to",
    ),
    "pictures to one stream": (("--models", "x", "--output", "png"), "name their folder with --to"),
    "no manifest of that name": (("--models", "m/*.yml"), "models: no file is called m/*.yml"),
}


@pytest.mark.parametrize("case", WRONG_AT_ONCE)
def test_wrong_before_anything_is_started(
    case: str, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.yml").write_text("models: MNIST-CNN\nbacth_sizes: [1]\n")
    words, text = WRONG_AT_ONCE[case]
    with pytest.raises(SystemExit) as left:
        main(["study", *words])
    assert left.value.code == 2
    assert text in " ".join(capsys.readouterr().err.split())


async def test_what_still_runs_is_not_shown_as_measured(mlms: Any, home: Path) -> None:
    words = ("study", "--models", "MNIST-CNN", "--frameworks", "onnxruntime", "--name", "half",
             "--trace", "none", *QUICK)  # fmt: skip
    assert (await asyncio.to_thread(mlms, *words)).returncode == 0
    given = {"models": ["MNIST-CNN"], "frameworks": ["onnxruntime"], "batch_sizes": [2],
             "threads": 1, "runs": 8, "name": "half", "trace": "none"}  # fmt: skip
    (running,) = wishes(sweep_grid(study_of(None, given)), {})
    which = running.evaluation_id("half", 0)
    async with Client.local(home) as client:
        evaluation = await client.evaluate(
            "MNIST-CNN", framework="onnxruntime", runs=10_000_000, evaluation_id=which
        )
        async for fact in evaluation:
            if isinstance(fact, JobStarted):
                break
        while True:
            try:
                await client.stored(which)
                break
            except NotStoredError:
                await asyncio.sleep(0.05)
        done = await asyncio.to_thread(
            mlms, *words, "--batch-size", "1,2", "--stored", "--what", "cells", "--output", "json"
        )
        await client.cancel(which)
    assert done.returncode == 1, done.stderr
    (cells,) = json.loads(done.stdout)
    states = {row["batch_size"]: (row["state"], row["problem"]) for row in cells["rows"]}
    assert states[1] == ("measured", "")
    assert states[2] == ("failed", f"it is still running: `mlmodelscope show {which[:8]}`")


async def test_interrupted_it_leaves_nothing_running(home: Path) -> None:
    command = (
        "study", "--models", "MNIST-CNN", "--frameworks", "onnxruntime", "--batch-size",
        "1,2,3,4", "--trace", "none", "--threads", "1", "--name", "stopped",
    )  # fmt: skip
    env = {k: v for k, v in os.environ.items() if not k.startswith("MLMS_")}
    begun = subprocess.Popen(
        [sys.executable, "-m", "mlmodelscope", *command, "--runs", "20000"],
        env=env | {"MLMS_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    async with Client.local(home) as client:
        deadline_s = time.monotonic() + 60
        before = {row.evaluation_id for row in await client.history(state="finished", limit=500)}
        while time.monotonic() < deadline_s:
            rows = await client.history(state="finished", limit=500)
            if {row.evaluation_id for row in rows} - before:
                break
            await asyncio.sleep(0.02)
        begun.send_signal(signal.SIGINT)
        _, told = await asyncio.to_thread(begun.communicate, timeout=60)
        assert begun.returncode == 130, told
        assert "of 4 cells are done: the same command goes on from there" in told
        assert not (await client.queue()).jobs
