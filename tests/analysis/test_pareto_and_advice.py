"""The Pareto front and what is said of each option, worked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.advice import Limits, Option, advise
from analysis.pareto import beaten_by
from analysis.recommend import NEVER, by_speed, cost_per_1000, price_per_hour

FRONTS: dict[str, tuple[list[tuple[float, ...]], list[int | None]]] = {
    "nothing": ([], []),
    "one": ([(1, 1)], [None]),
    "a trade": ([(1, 2), (2, 1)], [None, None]),
    "one is worse in one, and as good in the other": ([(1, 1), (1, 2)], [None, 0]),
    "alike ones do not beat each other": ([(1, 1), (1, 1), (2, 2)], [None, None, 0]),
    "the one that is named is on the front": ([(3, 3), (2, 2), (1, 1)], [2, 2, None]),
    "three respects": ([(1, 5, 5), (5, 1, 5), (5, 5, 1), (5, 5, 5)], [None, None, None, 0]),
}


@pytest.mark.parametrize("case", FRONTS)
def test_the_front(case: str) -> None:
    points, expected = FRONTS[case]
    assert beaten_by(points) == expected


def test_what_nobody_measured_comes_last() -> None:
    assert by_speed({"b": None, "a": 2.0, "c": 1.0}) == [("c", 1.0), ("a", 2.0), ("b", NEVER)]


def test_an_hour_of_a_node_and_a_thousand_inputs() -> None:
    # 3.60 an hour is 0.001 a second; 1,000 inputs of 2 ms take 2 s.
    assert cost_per_1000(3.6, 2e6) == pytest.approx(0.002)
    prices = [price_per_hour(label) for label in ({"price": "3.6"}, {}, {"price": "?"})]
    assert prices == [3.6, None, None]
    assert price_per_hour({"price": "nan"}) is None and price_per_hour({"price": "-1"}) == 0.0


def option(model: str, ms: float | None, rate: float, right: float | None, **more: Any) -> Option:
    na = {"latency_ns": "p99 needs 100 queries"} if ms is None else {}
    if right is None:
        na["accuracy"] = "nobody measured it"
    return Option(
        **{
            "model": model,
            "version": "1.0.0",
            "framework": "onnxruntime",
            "framework_version": "1.20.0",
            "node_id": "n",
            "batch_size": 1,
            "queries": 100,
            "evaluation_id": "e",
            "latency_ns": None if ms is None else ms * 1e6,
            "throughput": rate,
            "accuracy": right,
            "figure": "top1",
            "na": na,
            **more,
        }
    )


def verdicts(options: list[Option], limits: Limits) -> list[tuple[str, str, str]]:
    return [(c.option.model, c.verdict, c.reason) for c in advise(options, limits)]


def test_each_option_has_its_reason() -> None:
    options = [
        option("unknown", 3, 300, None),
        option("slow", 30, 30, 0.9),
        option("wrong", 1, 1000, 0.5),
        option("large", 10, 100, 0.9),
        option("small", 2, 500, 0.8),
        option("worse", 10, 90, 0.85),
        option("unknown and slow", 40, 20, None),
    ]
    limits = Limits(max_latency_ns=20e6, min_accuracy=0.7, accurate=True)
    assert verdicts(options, limits) == [
        ("small", "recommended", "the fastest and the highest throughput"),
        ("large", "recommended", "the most accurate"),
        (
            "worse", "beaten",
            "large is of higher throughput and more accurate, and as good in the rest",
        ),
        ("wrong", "outside", "top1 0.5 is below 0.7"),
        ("slow", "outside", "latency 30 ms is above 20 ms"),
        ("unknown and slow", "outside", "latency 40 ms is above 20 ms"),
        ("unknown", "not known", "nobody measured it"),
    ]  # fmt: skip


def test_a_limit_inside_the_interval_is_said() -> None:
    one = option("one", 19, 50, 0.72, low_ns=18e6, high_ns=21e6, accuracy_low=0.68)
    limits = Limits(max_latency_ns=20e6, min_accuracy=0.7)
    ((_, verdict, reason),) = verdicts([one], limits)
    assert verdict == "recommended"
    assert "the latency's 95 % interval reaches beyond the limit" in reason
    assert "the accuracy's 95 % interval begins at 0.68" in reason


def test_cost_counts_where_all_have_one() -> None:
    dear, cheap = option("dear", 1, 100, None, cost=2.0), option("cheap", 2, 50, None, cost=1.0)
    assert [v for _, v, _ in verdicts([dear, cheap], Limits())] == ["recommended"] * 2
    priceless = option("priceless", 3, 10, None, na={"cost": "no label `price`"})
    found = verdicts([dear, cheap, priceless], Limits())
    assert [v for _, v, _ in found] == ["recommended", "beaten", "beaten"]
    found = verdicts([dear, cheap, priceless], Limits(max_cost=1.5))
    assert found == [
        ("cheap", "recommended", "the fastest and the highest throughput and the cheapest"),
        ("dear", "outside", "1,000 inputs cost 2, above 1.5"),
        ("priceless", "not known", "no label `price`"),
    ]


def test_too_few_queries_are_not_known() -> None:
    assert verdicts([option("few", None, 10, None)], Limits()) == [
        ("few", "not known", "p99 needs 100 queries")
    ]
