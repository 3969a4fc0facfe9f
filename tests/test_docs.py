"""The documents tell the truth: everything there is stands in them, and their code runs."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import analysis
from analysis import formats
from bus import subjects
from collector import collector
from coordinator import coordinator
from mlmodelscope import cli, cli_load, exits, on_nodes
from predictor_node import node
from web import app
from web import settings as web_settings

ROOT = Path(__file__).parent.parent
DOCS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
COMMANDS = (ROOT / "docs" / "commands.md").read_text()


def made() -> dict[Path, str]:
    spec = importlib.util.spec_from_file_location("make", ROOT / "docs" / "make_reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


@pytest.mark.parametrize("path", sorted(made()), ids=lambda p: p.name)
def test_generated_pages_are_up_to_date(path: Path) -> None:
    assert path.read_text() == made()[path], "run: python docs/make_reference.py"


def test_every_subject_is_documented() -> None:
    page = (ROOT / "docs" / "messages.md").read_text()
    for name, value in vars(subjects).items():
        if isinstance(value, str) and value.startswith("mlms.v1.request") and value[-1] != ".":
            assert f"`{value}.<user>`" in page, name
        if name.endswith("_BUCKET") or name.endswith("_STREAM"):
            assert value in page or name == "DEAD_STREAM", name


def test_every_command_is_documented() -> None:
    commands = {name for name in cli.app if not name.startswith("-")}
    documented = set(re.findall(r"^\| `mlmodelscope (\w+)", COMMANDS, re.M))
    assert commands == documented


def test_every_option_of_evaluate_is_documented() -> None:
    groups = [field.name for field in dataclasses.fields(on_nodes.Nodes)]
    for name in [*inspect.signature(cli.evaluate).parameters, *groups]:
        if name not in ("model", "where", "on", "load"):
            assert f"`--{name.replace('_', '-')}`" in COMMANDS, name


def test_every_option_of_a_load_is_documented() -> None:
    page = (ROOT / "docs" / "scenarios.md").read_text()
    for field in dataclasses.fields(cli_load.Load):
        assert f"`--{field.name.replace('_', '-')}`" in page, field.name


@pytest.mark.parametrize("settings", [collector.Settings, coordinator.Settings, node.Settings])
def test_every_setting_is_documented(settings: type) -> None:
    for field in dataclasses.fields(settings):
        assert f"`MLMS_{field.name.upper()}`" in COMMANDS, field.name


def test_every_setting_of_the_web_is_documented() -> None:
    page = (ROOT / "docs" / "web.md").read_text()
    shown = dict(re.findall(r"^\| `(MLMS_WEB_[A-Z_]+)` \| ?`?([^|`]*?)`? \|", page, re.M))
    defaults = {
        f"MLMS_WEB_{field.name.upper()}": str(field.default)
        for field in dataclasses.fields(web_settings.Settings)
    }
    assert shown == defaults


def test_every_operation_is_documented() -> None:
    page = (ROOT / "docs" / "rest.md").read_text()
    for one in app.OPERATIONS:
        path = one.path.replace("{evaluation}", "{id}")
        short = path.replace("/api/v1/evaluations/{id}", "")
        rows = [row for row in page.splitlines() if row.startswith("|") and one.method in row]
        assert any(f"{path}`" in row or f"{path}?" in row or f"`{short}`" in row for row in rows), (
            one.method,
            one.path,
        )


def test_every_variable_that_is_read_is_documented() -> None:
    for room in ("bus", "coordinator", "collector", "predictor_node", "mlmodelscope"):
        for path in (ROOT / room).rglob("*.py"):
            for name in re.findall(r"\bMLMS_[A-Z_]+\b", path.read_text()):
                if not name.startswith(("MLMS_JOBS", "MLMS_FACTS", "MLMS_SPANS", "MLMS_DEAD")):
                    assert name in COMMANDS or name == "MLMS_", f"{path.name}: {name}"


# Pieces that the others share; they say nothing by themselves.
SILENT = {"formats", "span_rows", "tracks", "answers", "evidence"}
SILENT |= {"layer_table", "kernel_table", "kernel_sums", "kernels"}
ANALYSES = sorted(
    found.name for found in pkgutil.iter_modules(analysis.__path__) if found.name not in SILENT
)


@pytest.mark.parametrize("name", ANALYSES)
def test_every_analysis_is_documented(name: str) -> None:
    module = importlib.import_module(f"analysis.{name}")
    page = (ROOT / "docs" / "analyses.md").read_text()
    known = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
        if name in ("latency", "best_batch") or f"`{name}`" in page
    ]
    assert known, f"no analysis of {module.__name__} is documented"
    for name in known:
        assert (getattr(module, name).__doc__ or "").strip()


def test_every_format_of_a_timeline_is_documented() -> None:
    page = (ROOT / "docs" / "timelines.md").read_text()
    for one in formats.FORMATS:
        assert f"| `{one.ending}` | `{one.name}` |" in page


def test_every_exit_code_is_documented() -> None:
    codes = (exits.OK, exits.FAILED, exits.USAGE, exits.NOTHING_FITS, exits.INTERRUPTED)
    for code in (*codes, exits.WORSE, exits.NOT_COMPARABLE):
        assert f"| {code} |" in COMMANDS


@pytest.mark.parametrize("path", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_readme_shows_the_two_commands_first() -> None:
    first = (ROOT / "README.md").read_text().splitlines()[:40]
    assert "make demo" in first and "make test" in first


def test_the_readme_shows_the_demos_real_command() -> None:
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert recipe
    command = " ".join(recipe.group(1).replace("\\\n", " ").replace("$(BIN)/", "").split())
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert command in readme


PYTHON = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S)
SAYS = (
    ("coffee.png espresso 0.95", "EvaluationFinished", "complete: True"),
    ("espresso",),
    ("book the answer {'cost_usd': 0.1, 'rows': 12}", "write it down"),
)


@pytest.mark.parametrize(
    ("code", "says"), list(zip(PYTHON, SAYS, strict=True)), ids=range(len(PYTHON))
)
def test_the_python_page_runs(home: Path, tmp_path: Path, code: str, says: tuple[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=os.environ | {"MLMS_HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr
    assert all(words in done.stdout for words in says), done.stdout


TUTORIAL = (ROOT / "docs" / "tutorial-framework.md").read_text()


def follow(tutorial: str, folder: Path) -> str:
    """Every file of a tutorial, in an empty folder, and then its commands; what they print."""
    for name, text in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", tutorial, re.S):
        (folder / name).write_text(text)
    commands = "".join(re.findall(r"^```sh\n(.*?)```", tutorial, re.S | re.M))
    done = subprocess.run(
        ["bash", "-euc", commands],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env=os.environ
        | {"MLMS_HOME": str(folder / "home"), "COLUMNS": "120"}
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tutorials_profiler_runs(tmp_path: Path) -> None:
    said = follow((ROOT / "docs" / "tutorial-profiler.md").read_text(), tmp_path)
    assert re.search(r"^20 predicts, on cores \[\d", said, re.M), said
    assert re.search(r"^20 samples of memory", said, re.M), said
    assert "resident" in said and "involuntary switches" in said


def test_the_tutorials_framework_runs(tmp_path: Path) -> None:
    said = follow(TUTORIAL, tmp_path)
    assert "Colours 1.0.0 · linear 1.0.0" in said
    # 1 / (1 + 2 e^-8) = 0.9993 for the picture's own colour: red is 0, blue is 2.
    assert re.search(r"red\.png +0 +0\.999", said), said
    assert re.search(r"blue\.png +2 +0\.999", said), said


def test_the_readmes_shell_commands_run(mlms) -> None:
    """Every `mlmodelscope` line of the README's shell blocks but those that run for ever."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    commands = [line.split("#")[0].split() for line in lines if line.startswith("mlmodelscope ")]
    assert commands
    for command in commands:
        if (
            command[1] not in ("up", "web", "coordinator", "collector", "node")
            and "--bus" not in command
        ):
            quick = ["--runs", "10"] if command[1] == "evaluate" else []
            done = mlms(*command[1:], *quick)
            assert done.returncode == 0, (command, done.stderr)
