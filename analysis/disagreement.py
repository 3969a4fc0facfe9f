"""Whether two evaluations say the same of the same inputs, labelled or not."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from analysis.items import items_of
from bus.messages import JobStarted, Message, Prediction

SHOWN = 10


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What each side says of one input."""

    input: str
    a: str
    b: str


class Disagreements(msgspec.Struct, frozen=True, kw_only=True):
    """Of the inputs that both answered. probability_moved: the most that the probability of A's
    first class differs between the sides, None where there are no classes. first: the first few."""

    inputs: int
    differing: int
    probability_moved: float | None
    first: list[Said]


def disagreements(facts_a: Sequence[Message], facts_b: Sequence[Message]) -> Disagreements | None:
    """The inputs of which the first jobs say something else; None where they share none."""
    one, two = answers(facts_a), answers(facts_b)
    shared = [name for name in one if name in two]
    if not shared:
        return None
    other = [name for name in shared if said(one[name]) != said(two[name])]
    moved = [m for name in shared if (m := _moved(one[name], two[name])) is not None]
    return Disagreements(
        inputs=len(shared),
        differing=len(other),
        probability_moved=max(moved) if moved else None,
        first=[Said(input=n, a=said(one[n]), b=said(two[n])) for n in other[:SHOWN]],
    )


def answers(facts: Sequence[Message]) -> dict[str, Prediction]:
    """What the first job says of each input, by the input's name."""
    first = next((fact.job_id for fact in facts if isinstance(fact, JobStarted)), "")
    return {item.prediction.input: item.prediction for item in items_of(facts).get(first, [])}


def said(prediction: Prediction) -> str:
    """The answer in short: the first class, the text, or how many boxes."""
    if prediction.classes:
        return prediction.classes[0].label or str(prediction.classes[0].index)
    if prediction.boxes:
        return ", ".join(sorted(box.label or str(box.index) for box in prediction.boxes))
    return " ".join(prediction.text.split())


def _moved(one: Prediction, two: Prediction) -> float | None:
    if not one.classes:
        return None
    first = one.classes[0]
    other = {score.index: score.probability for score in two.classes}
    return abs(first.probability - other[first.index]) if first.index in other else None
