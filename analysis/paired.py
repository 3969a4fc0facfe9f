"""Two runs on the same items: which does A get right and B wrong, and can that be chance?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from analysis.items import Item, is_right, items_of
from analysis.proportions import mcnemar
from analysis.resampling import DRAWS, Interval, interval
from bus.errors import InputError
from bus.messages import JobStarted, Message, Prediction

SURE = 0.05
"""A difference in how often two models are right is told where chance makes it more rarely."""


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """An item that one of the two alone gets right. truth, a, b: labels, classes or texts."""

    input: str
    right: str
    truth: str
    a: str
    b: str


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """Two models on the same labelled items. p_value: of the exact McNemar test.

    differing: items about which they say something else, right or wrong.
    """

    a: str
    b: str
    items: int
    both_right: int
    only_a: int
    only_b: int
    both_wrong: int
    differing: int
    p_value: float
    disagreements: list[Disagreement]


def paired(facts_a: Sequence[Message], facts_b: Sequence[Message]) -> Paired:
    """Compare the first jobs of two evaluations item by item; InputError where they cannot be."""
    one, two = _first(facts_a), _first(facts_b)
    same = [name for name in one.items if name in two.items]
    judged = [(name, _pair(one, two, name)) for name in same]
    known = [(name, a, b) for name, (a, b) in judged if a is not None and b is not None]
    if not known:
        text = f"{one.title} and {two.title} share no labelled items: expected runs of one dataset"
        raise InputError(text)
    only_a = sum(a and not b for _, a, b in known)
    only_b = sum(b and not a for _, a, b in known)
    both = sum(a and b for _, a, b in known)
    return Paired(
        a=one.title,
        b=two.title,
        items=len(known),
        both_right=both,
        only_a=only_a,
        only_b=only_b,
        both_wrong=len(known) - both - only_a - only_b,
        differing=sum(_said(one.items[n]) != _said(two.items[n]) for n, _, _ in known),
        p_value=mcnemar(only_a, only_b),
        disagreements=[
            Disagreement(
                input=one.items[name].input,
                right="a" if a else "b",
                truth=_truth(one.items[name]),
                a=_said(one.items[name]),
                b=_said(two.items[name]),
            )
            for name, a, b in known
            if a != b
        ],
    )


class _Run(msgspec.Struct, frozen=True):
    title: str
    items: dict[str, Prediction]


def _first(facts: Sequence[Message]) -> _Run:
    """The first job's items by name; InputError where it ran no dataset."""
    started = next((f for f in facts if isinstance(f, JobStarted) and f.dataset), None)
    if started is None:
        raise InputError("an evaluation without a dataset: expected one made by `accuracy`")
    items: list[Item] = items_of(facts).get(started.job_id, [])
    title = f"{started.model} {started.model_version} ({started.framework})"
    return _Run(title, {item.prediction.input: item.prediction for item in items})


def _pair(one: _Run, two: _Run, name: str) -> tuple[bool | None, bool | None]:
    a, b = one.items[name], two.items[name]
    if _truth(a) != _truth(b):
        return None, None  # not the same item, whatever its name
    return is_right(a), is_right(b)


def _truth(prediction: Prediction) -> str:
    truth = prediction.truth
    if truth is None:
        return ""
    return truth.text or truth.label or str(truth.index)


def _said(prediction: Prediction) -> str:
    if prediction.classes:
        return prediction.classes[0].label or str(prediction.classes[0].index)
    return " ".join(prediction.text.split())


class Rightness(msgspec.Struct, frozen=True, kw_only=True):
    """How often B is right against A, on the same labelled items.

    difference: B's share less A's, with the 95 % bootstrap interval over whole items; p_value: of
    the exact McNemar test. verdict: `no evidence` unless that is below 0.05.
    """

    items: int
    right_a: int
    right_b: int
    only_a: int
    only_b: int
    differing: int
    difference: Interval
    p_value: float
    verdict: Literal["more right", "less right", "no evidence"]


def rightness(facts_a: Sequence[Message], facts_b: Sequence[Message]) -> Rightness:
    """Which of two runs of one dataset is more often right; InputError where they cannot be."""
    found = paired(facts_a, facts_b)
    shares = np.array([found.only_a, found.only_b, found.items - found.only_a - found.only_b])
    # Whole items drawn again: each is one that A alone, B alone, or neither alone gets right.
    drawn = np.random.default_rng(0).multinomial(found.items, shares / found.items, 4 * DRAWS)
    value = (found.only_b - found.only_a) / found.items
    verdict: Literal["more right", "less right", "no evidence"] = "no evidence"
    if found.p_value < SURE:
        verdict = "more right" if found.only_b > found.only_a else "less right"
    return Rightness(
        items=found.items,
        right_a=found.both_right + found.only_a,
        right_b=found.both_right + found.only_b,
        only_a=found.only_a,
        only_b=found.only_b,
        differing=found.differing,
        difference=interval(value, (drawn[:, 1] - drawn[:, 0]) / found.items),
        p_value=found.p_value,
        verdict=verdict,
    )
