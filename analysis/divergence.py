"""How far apart the outputs of two runs lie, input by input: six measures and the largest step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from analysis.disagreement import answers, said
from bus.errors import InputError
from bus.messages import Message, Prediction, TensorValue

Values = NDArray[np.float64]
SUM_ERROR = 1e-3
MEASURES = (
    "kullback_leibler",
    "jensen_shannon",
    "hellinger",
    "bhattacharyya",
    "covariance",
    "correlation",
    "max_difference",
)


class DivergenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One output of one input. The first four are of probabilities, in nats where they have a unit.

    None: the outputs are no distributions, or one of them does not vary (correlation). KL(A‖B) is
    None too where B gives 0 to what A does not: it is infinite there, and `note` says so.
    """

    input: str
    output: str
    values: int
    kullback_leibler: float | None = None
    jensen_shannon: float | None = None
    hellinger: float | None = None
    bhattacharyya: float | None = None
    covariance: float | None = None
    correlation: float | None = None
    max_difference: float
    same_answer: bool
    note: str = ""


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """B's outputs against A's. median, worst: of each measure over all rows; of the correlation
    (1 is alike) the lowest is the worst. farthest: the input with the largest difference."""

    inputs: int
    differing: int
    median: dict[str, float]
    worst: dict[str, float]
    farthest: str
    rows: list[DivergenceRow]


def divergence(facts_a: Sequence[Message], facts_b: Sequence[Message]) -> Divergence:
    """Compare what two evaluations' first jobs gave for the same inputs, number by number.

    Raises InputError where they share no input, or did not store whole outputs.
    """
    one, two = answers(facts_a), answers(facts_b)
    shared = [name for name in one if name in two]
    if not shared:
        text = f"the two share no input (A has {len(one)}, B has {len(two)})"
        raise InputError(f"{text}: expected runs on the same inputs or the same dataset")
    rows = [row for name in shared for row in _rows(one[name], two[name])]
    if not rows:
        raise InputError("neither classes nor tensors are stored: there is nothing to subtract")
    found = {m: [v for r in rows if (v := getattr(r, m)) is not None] for m in MEASURES}
    worst = {m: (min if m == "correlation" else max)(v) for m, v in found.items() if v}
    return Divergence(
        inputs=len(shared),
        differing=sum(said(one[name]) != said(two[name]) for name in shared),
        median={m: float(np.median(v)) for m, v in found.items() if v},
        worst=worst,
        farthest=max(rows, key=lambda row: row.max_difference).input,
        rows=rows,
    )


def _rows(one: Prediction, two: Prediction) -> Iterator[DivergenceRow]:
    same = said(one) == said(two)
    if one.classes or two.classes:
        a, b = _scores(one, two), _scores(two, one)
        yield measured(one.input, "classes", a, b, same)
    others = {value.name: value for value in two.tensors}
    for place, value in enumerate(one.tensors):
        here = two.tensors[place] if place < len(two.tensors) else None
        other = others.get(value.name, here)
        if other is None or list(other.shape) != list(value.shape):
            found = "none" if other is None else str(other.shape)
            text = f"{one.input}: A's output {value.name} has the shape {value.shape}, B's {found}"
            raise InputError(f"{text}; expected alike: compare runs of one model's outputs")
        yield measured(one.input, value.name, _numbers(value), _numbers(other), same)


def _scores(prediction: Prediction, other: Prediction) -> Values:
    """Every class's score by its number."""
    size = max((score.index for p in (prediction, other) for score in p.classes), default=-1) + 1
    if len(prediction.classes) != size:
        text = f"{prediction.input}: {len(prediction.classes)} of {size} classes or more are stored"
        raise InputError(f"{text}; run it with --full-outputs")
    scores = np.zeros(size)
    for score in prediction.classes:
        scores[score.index] = score.probability
    return scores


def _numbers(value: TensorValue) -> Values:
    if value.url:
        text = f"output {value.name} lies in the object store ({value.url}), too large for a fact"
        raise InputError(f"{text}; compare a model with smaller outputs, or its --layers")
    dtype = np.dtype(value.dtype).newbyteorder("<")
    return np.frombuffer(value.data, dtype).astype(np.float64)


def measured(input: str, output: str, a: Values, b: Values, same: bool = True) -> DivergenceRow:
    """The measures of one pair of outputs.

    Kullback and Leibler (1951); Jensen-Shannon, of base e (Lin, 1991); Hellinger's distance;
    Bhattacharyya's distance -ln Σ √(pq) (1943); covariance of the values as a sample's.
    """
    row = DivergenceRow(
        input=input,
        output=output,
        values=len(a),
        covariance=float(np.cov(a, b)[0, 1]) if len(a) > 1 else None,
        correlation=_correlation(a, b),
        max_difference=float(np.abs(a - b).max(initial=0.0)),
        same_answer=same,
    )
    if not (_is_distribution(a) and _is_distribution(b)):
        return row
    p, q = a / a.sum(), b / b.sum()
    middle, overlap = (p + q) / 2, float(np.sqrt(p * q).sum())
    told = _kullback(p, q)
    return msgspec.structs.replace(
        row,
        kullback_leibler=told,
        jensen_shannon=((_kullback(p, middle) or 0.0) + (_kullback(q, middle) or 0.0)) / 2,
        hellinger=float(np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2)),
        bhattacharyya=max(0.0, -float(np.log(overlap))) if overlap > 0 else None,
        note="" if told is not None else "KL(A‖B) is infinite: B gives 0 where A does not",
    )


def _is_distribution(values: Values) -> bool:
    return len(values) > 1 and bool(np.all(values >= 0)) and abs(values.sum() - 1) <= SUM_ERROR


def _kullback(p: Values, q: Values) -> float | None:
    there = p > 0
    if np.any(q[there] == 0):
        return None
    return max(0.0, float((p[there] * np.log(p[there] / q[there])).sum()))


def _correlation(a: Values, b: Values) -> float | None:
    if len(a) < 2 or not (a.std() and b.std()):
        return None
    return float(np.corrcoef(a, b)[0, 1])
