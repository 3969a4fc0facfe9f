"""Every measure of divergence against scipy and numpy, on distributions and on tensors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from analysis.divergence import divergence, measured
from bus.errors import InputError
from bus.messages import ClassScore, JobStarted, Message, Prediction, PredictionsMade, TensorValue


def facts(*predictions: Prediction) -> list[Message]:
    common = {"evaluation_id": "e", "job_id": "j", "attempt": 1, "node_id": "n", "at_ns": 0}
    words = ("incarnation", "model", "model_version", "model_digest", "framework")
    about = {name: "x" for name in (*words, "framework_version", "environment")}
    return [
        JobStarted(**common, sequence=0, **about),
        PredictionsMade(**common, sequence=1, run=0, first=0, predictions=list(predictions)),
    ]


def scored(name: str, *scores: float) -> Prediction:
    order = np.argsort(-np.asarray(scores), kind="stable")
    classes = [ClassScore(index=int(i), label=f"c{i}", probability=scores[i]) for i in order]
    return Prediction(input=name, classes=classes)


@pytest.mark.parametrize("seed", range(5))
def test_distributions_as_scipy_has_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(12)), rng.dirichlet(np.ones(12))
    row = measured("i", "o", p, q)
    assert row.kullback_leibler == pytest.approx(entropy(p, q))
    assert row.jensen_shannon == pytest.approx(jensenshannon(p, q) ** 2)
    overlap = np.sqrt(p * q).sum()
    assert row.hellinger == pytest.approx(np.sqrt(1 - overlap))
    assert row.hellinger == pytest.approx(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2))
    assert row.bhattacharyya == pytest.approx(-np.log(overlap))
    assert row.covariance == pytest.approx(np.cov(p, q)[0, 1])
    assert row.correlation == pytest.approx(np.corrcoef(p, q)[0, 1])
    assert row.max_difference == pytest.approx(np.abs(p - q).max())


def test_the_same_is_no_distance_apart() -> None:
    p = np.array([0.2, 0.3, 0.5])
    row = measured("i", "o", p, p)
    distances = (row.kullback_leibler, row.jensen_shannon, row.hellinger, row.max_difference)
    assert distances == (0, 0, 0, 0) and row.bhattacharyya == pytest.approx(0, abs=1e-15)
    assert row.correlation == pytest.approx(1)


def test_what_cannot_be_said_is_not_said() -> None:
    row = measured("i", "o", np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    assert row.kullback_leibler is None and "infinite" in row.note
    assert row.jensen_shannon == pytest.approx(jensenshannon([0.5, 0.5], [1, 0]) ** 2)
    raw = measured("i", "o", np.array([3.0, -1.0]), np.array([2.0, 5.0]))
    assert (raw.hellinger, raw.max_difference) == (None, 6.0)
    assert measured("i", "o", np.array([1.0, 1.0]), np.array([2.0, 5.0])).correlation is None


def test_two_evaluations() -> None:
    one = facts(scored("a", 0.7, 0.2, 0.1), scored("b", 0.5, 0.3, 0.2))
    two = facts(scored("b", 0.5, 0.3, 0.2), scored("a", 0.1, 0.8, 0.1))
    found = divergence(one, two)
    assert (found.inputs, found.differing, found.farthest) == (2, 1, "a")
    assert found.worst["max_difference"] == pytest.approx(0.6)
    assert found.median["max_difference"] == pytest.approx(0.3)


def tensor(name: str, values: list[float], shape: list[int]) -> Prediction:
    data = np.asarray(values, "<f4").tobytes()
    value = TensorValue(name=name, dtype="float32", shape=shape, data=data)
    return Prediction(input="a", tensors=[value])


def test_tensors_are_subtracted_number_by_number() -> None:
    found = divergence(facts(tensor("x", [1, 2, 3], [3])), facts(tensor("x", [1, 2, 5], [3])))
    (row,) = found.rows
    assert (row.output, row.values, row.max_difference, row.hellinger) == ("x", 3, 2.0, None)


@pytest.mark.parametrize(
    ("one", "two", "says"),
    [
        (scored("a", 0.9, 0.1), scored("b", 0.9, 0.1), "share no input"),
        (
            scored("a", 0.9, 0.1),
            Prediction(input="a", classes=[ClassScore(index=1, label="", probability=0.9)]),
            "run it with --full-outputs",
        ),
        (tensor("x", [1, 2], [2]), tensor("x", [1, 2, 3], [3]), r"shape \[2\], B's \[3\]"),
        (Prediction(input="a", text="x"), Prediction(input="a", text="x"), "nothing to subtract"),
    ],
)
def test_what_is_wrong_is_named(one: Prediction, two: Prediction, says: str) -> None:
    with pytest.raises(InputError, match=says):
        divergence(facts(one), facts(two))
