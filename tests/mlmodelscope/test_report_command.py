"""`report` and `recommend` as a person types them, on evaluations that were really run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlmodelscope.page import Code, Page, Rows, Words
from mlmodelscope.page_html import as_html
from mlmodelscope.page_markdown import as_markdown
from mlmodelscope.pictures import BROWSERS
from mlmodelscope.tables import Column

QUICK = ("--threads", "1", "--runs", "20", "--warmup", "2")
ONNX = ("evaluate", "MNIST-CNN", "--framework", "onnxruntime", *QUICK, "--batch-size", "1,2",
        "--trace", "framework")  # fmt: skip
TORCH = ("evaluate", "MNIST-CNN", "--framework", "pytorch", *QUICK, "--batch-size", "1,2",
         "--trace", "framework")  # fmt: skip
RIGHT = ("accuracy", "MNIST-CNN", "--dataset", "MNIST-5k", "--limit", "60", "--framework",
         "onnxruntime", "--threads", "1")  # fmt: skip
LOOKED_UP = re.compile(r"""(?:src|href)=["'](?!#|data:)|@import|url\((?!#)""")

Evaluated = Callable[[tuple[str, ...]], str]
_done: dict[tuple[str, ...], str] = {}


@pytest.fixture
def evaluated(mlms: Any) -> Evaluated:
    """The id of what this command measured, once."""

    def get(words: tuple[str, ...]) -> str:
        if words not in _done:
            done = mlms(*words, "--output", "json")
            assert done.returncode == 0, done.stderr
            _done[words] = json.loads(done.stdout)["evaluation_id"]
        return _done[words]

    return get


def own_markup(page: str) -> str:
    """The page without plotly's own code, which holds addresses that it never asks for."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.S)


def test_one_evaluation_is_one_file(mlms: Any, evaluated: Evaluated, tmp_path: Path) -> None:
    which = evaluated(ONNX)
    done = mlms("report", which, "-o", "one.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "one.html").read_text()
    markup = own_markup(page)
    assert not LOOKED_UP.search(markup)
    for title in (
        "Summary", "How fast it is", "What it says", "Where the time goes", "Environment",
        "Settings, requested and effective", "Manifest", "Completeness", "Measure it again",
    ):  # fmt: skip
        assert f"<h2>{title}" in markup, title
    assert page.count('class="plotly-graph-div"') >= 3
    assert page.count("plotly.js v") == 1  # its code lies inside, once
    assert which in markup and "sha256:" in markup and "name: MNIST-CNN" in markup
    assert "p99 needs 100 queries" in markup


@pytest.mark.parametrize("words", [ONNX, RIGHT], ids=["evaluate", "accuracy"])
def test_its_command_measures_the_same_again(
    mlms: Any, evaluated: Evaluated, tmp_path: Path, words: tuple[str, ...]
) -> None:
    which = evaluated(words)
    assert mlms("report", which, "-o", "one.md").returncode == 0
    text = (tmp_path / "one.md").read_text()
    (command,) = re.findall(r"^mlmodelscope (?:evaluate|accuracy) .*$", text, re.M)
    done = mlms(*shlex.split(command)[1:], "--output", "json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)["evaluation_id"]
    one, two = (json.loads(mlms("show", i, "--output", "json").stdout) for i in (which, again))
    for name in ("model_digest", "framework_version", "requested", "effective"):
        assert one[name] == two[name], name
    sizes = [
        [(row["batch_size"], row["queries"]) for row in each["latency"]] for each in (one, two)
    ]
    assert sizes[0] == sizes[1]


def test_several_are_held_against_the_first(
    mlms: Any, evaluated: Evaluated, tmp_path: Path
) -> None:
    a, b = evaluated(ONNX), evaluated(TORCH)
    done = mlms("report", a, b, a, "--across", "framework", "--force", "-o", "many.html")
    assert done.returncode == 0, done.stderr
    markup = own_markup((tmp_path / "many.html").read_text())
    assert "<h2>B against A" in markup and "<h2>C against A" in markup
    # How far earlier like runs lie apart counts too, where there are some: then it may be noise.
    assert re.search(r"B is slower at batch 1|[Nn]o evidence", markup)
    assert "onnxruntime" in markup and "pytorch" in markup
    assert "Layers of A and B" in markup
    assert f"mlmodelscope report {a[:12]} {b[:12]} {a[:12]} --across framework --force" in markup
    assert mlms("report", a, b, "-o", "two.md").returncode == 0
    assert (tmp_path / "two.md").read_text().startswith("# MNIST-CNN 1.0.0: onnxruntime")


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium or Chrome here")
def test_as_pdf(mlms: Any, evaluated: Evaluated, tmp_path: Path) -> None:
    done = mlms("report", evaluated(ONNX), "-o", "one.pdf")
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "one.pdf").read_bytes()
    assert data.startswith(b"%PDF-") and len(re.findall(rb"/Type\s*/Page\b", data)) >= 2


WRONG: dict[str, tuple[tuple[str, ...], dict[str, str], str]] = {
    "another ending": (("-o", "report.docx"), {}, "expected a name that ends in .html, .pdf, .md"),
    "no such folder": (("-o", "there/report.html"), {}, "there is no folder there"),
    "no browser": (
        ("-o", "r.pdf"),
        {"PATH": "/nowhere"},
        "install Chromium, or use -o report.html",
    ),
    "no such evaluation": (("ffffffff",), {}, "ffffffff"),
    "across nothing": (("last", "--across", "colour"), {}, "unknown --across 'colour'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_reports(mlms: Any, evaluated: Evaluated, case: str) -> None:
    words, env, text = WRONG[case]
    done = mlms("report", evaluated(ONNX), *words, **env)
    assert done.returncode == 2
    assert text in " ".join(done.stderr.split()), done.stderr


def test_names_are_never_markup() -> None:
    evil = "<script>alert(1)</script> | `a` [b](c)"
    page = Page(evil, evil)
    page.add(evil, [Words(evil), Rows([{"x": evil}], [Column("x")]), Code(evil, evil)])
    assert "<script>" not in as_html(page)
    row = as_markdown(page).splitlines()[10]
    assert "\\|" in row and row.count(" | ") == 0 and "\\<script\\>" in row


# ------------------------------------------------------------------ recommend


def test_the_front_of_what_was_measured(mlms: Any, evaluated: Evaluated) -> None:
    for words in (ONNX, TORCH, RIGHT):
        evaluated(words)
    asked = ("recommend", "--task", "image_classification", "--dataset", "MNIST-5k")
    done = mlms(*asked, "--max-latency", "1s", "--min-accuracy", "0.7", "--output", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    first = found["choices"][0]
    assert first["verdict"] == "recommended" and "the fastest" in first["reason"]
    assert first["option"]["framework"] == "onnxruntime" and first["option"]["items"] >= 60
    unjudged = [
        choice for choice in found["choices"]
        if choice["option"]["framework"] == "pytorch" and choice["option"]["accuracy"] is None
    ]  # fmt: skip
    if unjudged:  # unless another test measured it in the same system
        assert {choice["verdict"] for choice in unjudged} == {"not known"}
        commands = [c for c in found["measure_next"] if " accuracy MNIST-CNN" in c]
        assert any("--framework pytorch@" in c and "--dataset MNIST-5k" in c for c in commands)
    done = mlms(*asked, "--max-latency", "1us")
    assert done.returncode == 5 and "Outside the limits" in done.stdout


WRONG_WISHES = {
    "a task that is none": (("--task", "image_clasification"), "did you mean image_classification"),
    "a time without a unit": (("--task", "x", "--max-latency", "20"), "expected a time with its"),
    "accuracy on nothing": (("--task", "x", "--min-accuracy", "0.5"), "--dataset"),
    "a cost of nothing": (("--task", "x", "--cost", "0"), "--cost 0: expected more than 0"),
    "a dataset that is none": (
        ("--task", "image_classification", "--dataset", "MNIST-5"),
        "did you mean MNIST-5k",
    ),
}


@pytest.mark.parametrize("case", WRONG_WISHES)
def test_wrong_wishes(mlms: Any, case: str) -> None:
    words, text = WRONG_WISHES[case]
    done = mlms("recommend", *words)
    assert done.returncode == 2
    assert text in " ".join(done.stderr.split()), done.stderr
