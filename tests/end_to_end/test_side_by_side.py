"""Several evaluations of one command: every place that fits, several models, several precisions."""

from __future__ import annotations

import json

import pytest

from mlmodelscope.asked import read_settings
from mlmodelscope.many import chosen

FAST = ("--runs", 5, "--warmup", 1, "--threads", 1)


def rows_of(done) -> list[dict]:  # type: ignore[no-untyped-def, type-arg]
    found: list[dict] = json.loads(done.stdout)  # type: ignore[type-arg]
    return found


def test_one_model_runs_everywhere_and_says_the_same(mlms) -> None:  # type: ignore[no-untyped-def]
    done = mlms("evaluate", "MNIST-CNN", "--all", *FAST, "--output", "json")
    assert done.returncode == 0, done.stderr
    rows = rows_of(done)
    names = {row["framework"].split()[0] for row in rows}
    assert {"onnxruntime", "pytorch", "tensorflow"} <= names
    said = [
        [made["classes"][0]["probability"] for made in row["result"]["predictions"]] for row in rows
    ]
    for row, probabilities in zip(rows, said, strict=True):
        best = [made["classes"][0]["label"] for made in row["result"]["predictions"]]
        assert best == ["7", "4", "0"], row["framework"]
        assert probabilities == pytest.approx(said[0], abs=1e-4)


def test_several_models_and_precisions_stand_side_by_side(mlms) -> None:  # type: ignore[no-untyped-def]
    models = "MNIST-CNN,No-Such-Model"
    wanted = ("--framework", "pytorch", "--precision", "float32,bfloat16", "--output", "json")
    done = mlms("evaluate", "--models", models, *FAST, *wanted)
    assert done.returncode == 1, done.stderr  # one of the models is not known
    rows = rows_of(done)
    found = [(row["model"], row["precision"], bool(row["problem"])) for row in rows]
    assert found[2:] == [("No-Such-Model", "", True)] * 2
    # An exported program holds its precision: the other one is refused by name.
    assert found[0] == ("MNIST-CNN 1.0.0", "float32", False)
    assert rows[1]["problem"] and "bfloat16" in rows[1]["problem"]


def test_a_setting_reaches_the_framework(mlms) -> None:  # type: ignore[no-untyped-def]
    given = ("--setting", "graph_optimization=disabled", "--framework", "onnxruntime")
    done = mlms("evaluate", "MNIST-CNN", *FAST, *given, "--output", "json")
    assert json.loads(done.stdout)["effective"]["graph_optimization"] == "disabled"
    wrong = mlms("evaluate", "MNIST-CNN", *FAST, "--setting", "provder=x")
    assert wrong.returncode == 1
    assert "did you mean provider" in " ".join(wrong.stderr.split())


@pytest.mark.parametrize("arguments", [(), ("MNIST-CNN", "--models", "A,B")])
def test_a_model_or_several_are_expected(mlms, arguments: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    done = mlms("evaluate", *arguments)
    assert done.returncode == 2
    assert "--models a,b,c" in done.stderr


def test_lists_and_settings_are_read() -> None:
    assert chosen("", "a, b,,a") == ("a", "b")
    assert read_settings(["a=1", "b = x=y "]) == {"a": "1", "b": "x=y"}
