"""That every benchmark runs and yields numbers; never how large they are."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import report
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.effort import QUICK
from benchmarks.intervals import (
    Interval,
    bootstrap,
    difference_of_medians,
    exactly,
    median_ratio,
)
from benchmarks.report import Result, Row
from benchmarks.rounds import Block, Rounds, Sides, measure
from benchmarks.span_rows import spans

TINY = replace(
    QUICK, queries=2, warmup=0, spans=2_500, peer_spans=3, soak_s=0.3, fleets=(5,), fleet_s=2.0,
    pages=3, stored=40,
)  # fmt: skip
ROWS = {
    "overhead": 2,
    "tracing": 3,
    "evaluation": 2,
    "cold": 1,
    "spans": 2,
    "assembly": 3,
    "soak": 1,
    "preprocess": 1,
    "resolve": 2,
    "accuracy": 3,
    "fleet": 7,
    "scenarios": 5,
    "comparing": 2,
    "analyses": 4,
    "web": 15,
}


@pytest.mark.parametrize("name", BENCHMARKS)
async def test_each_runs_and_yields_numbers(name: str) -> None:
    result = await BENCHMARKS[name](TINY)
    assert len(result.rows) == ROWS[name]
    for row in result.rows:
        assert row.ours > 0 and row.theirs > 0
        assert math.isfinite(row.compared.value)
        assert row.compared.low <= row.compared.value <= row.compared.high
    json.dumps(result.raw)


@pytest.mark.parametrize(
    ("ours", "theirs", "ratio", "difference"),
    [
        ([2.0], [1.0], 2.0, 1.0),
        ([3.0, 3.0, 3.0], [2.0, 2.0, 2.0], 1.5, 1.0),
        # Ratios 1, 2, 5: the pairs' median is 2; medians 4 and 2 are 2 apart.
        ([1.0, 4.0, 50.0], [1.0, 2.0, 10.0], 2.0, 2.0),
    ],
)
def test_statistics_of_pairs(
    ours: list[float], theirs: list[float], ratio: float, difference: float
) -> None:
    assert bootstrap(median_ratio, ours, theirs).value == ratio
    assert bootstrap(difference_of_medians, ours, theirs).value == difference


def test_an_interval_of_equal_pairs_has_no_width() -> None:
    found = bootstrap(median_ratio, [3.0] * 20, [2.0] * 20)
    assert (found.low, found.high, found.width) == (1.5, 1.5, 0.0)


def test_the_same_pairs_give_the_same_interval() -> None:
    pairs = ([1.0, 2.0, 4.0, 3.0], [1.0, 1.0, 1.0, 1.0])
    found = bootstrap(median_ratio, *pairs)
    assert found == bootstrap(median_ratio, *pairs)
    # Drawing the smallest or the largest four times happens: 4 of 256 draws are all alike.
    assert 1.0 <= found.low < 2.5 < found.high <= 4.0


def test_sides_of_unequal_length_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="1 and 2"):
        bootstrap(median_ratio, [1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("low", "high", "at_most", "at_least", "held"),
    [
        (1.00, 1.01, 1.02, None, "yes"),
        (1.01, 1.03, 1.02, None, "undecided"),
        (1.03, 1.04, 1.02, None, "no"),
        (310.0, 320.0, None, 300.0, "yes"),
        (290.0, 320.0, None, 300.0, "undecided"),
        (280.0, 290.0, None, 300.0, "no"),
        (1.0, 1.0, None, None, ""),
    ],
)
def test_a_budget_is_held_by_the_whole_interval(
    low: float, high: float, at_most: float | None, at_least: float | None, held: str
) -> None:
    row = Row(
        what="",
        ours=1,
        theirs=1,
        unit="ms",
        compared=Interval((low + high) / 2, low, high),
        at_most=at_most,
        at_least=at_least,
    )
    assert row.held == held
    unjudged = report.unjudged({"": Result([row])})
    assert unjudged[""].rows[0].held == ""


async def test_rounds_end_when_the_ratio_is_known() -> None:
    counted = {"ours": 0, "theirs": 0}

    async def ours() -> Block:
        counted["ours"] += 1
        return Block([0, 300, 600], [200, 200, 200])

    async def theirs() -> Block:
        counted["theirs"] += 1
        return Block([0, 100, 200], [100, 100, 100])

    effort = replace(TINY, generations=2, least_rounds=10, most_rounds=100, pause_s=0.0)
    rounds = Rounds()
    for _ in range(effort.generations):
        await measure("equal blocks", Sides(ours, theirs, theirs), effort, rounds)
    assert len(rounds.ours) == 20
    # One block more of each in a generation: the first of all is nobody's.
    assert counted == {"ours": 22, "theirs": 44}
    assert rounds.ratio(lambda block: block.median_ns) == exactly(2.0)
    assert rounds.ratio(lambda block: block.median_period_ns) == exactly(3.0)
    assert rounds.same(lambda block: block.median_ns) == exactly(1.0)


def test_spans_have_six_tags_and_do_not_overlap() -> None:
    made = list(spans(250, first_ns=1_000))
    assert len(made) == 250
    assert {len(span.tags) for span in made} == {6}
    pairs = zip(made, made[1:], strict=False)
    assert all(one.start_ns + one.duration_ns <= two.start_ns for one, two in pairs)
    assert [span.tags["query"] for span in made[99:101]] == [0, 1]


def test_both_outputs_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row(
        what="one / two",
        ours=1.0,
        theirs=2.0,
        unit="ms",
        compared=Interval(0.5, 0.4, 0.6),
        at_most=1.02,
        same=exactly(1.0),
        note="two rounds",
    )
    results = {"halves": Result([row], {"values": [1, 2]})}
    report.show_table(results, {"cores": "2"})
    table = capsys.readouterr().out
    for text in ("cores", "one / two", "0.5000 (0.4000–0.6000) ×", "≤ 1.02 ×", "yes", "two rounds"):
        assert text in table
    report.show_json(results, {"cores": "2"})
    said = json.loads(capsys.readouterr().out)
    assert said["environment"] == {"cores": "2"}
    assert said["results"]["halves"]["raw"] == {"values": [1, 2]}
    assert said["results"]["halves"]["rows"][0]["held"] == "yes"


def test_an_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["speed"])
    assert left.value.code == 2
    assert "no benchmark 'speed'; there is: overhead, tracing, evaluation, cold" in (
        capsys.readouterr().err
    )


def test_as_many_tests_lie_where_the_spread_of_a_median_says() -> None:
    from benchmarks.scenarios import interval_of_tests

    # 400 tests of 5 like queries, their values normal: the median of n has the variance pi / 2n.
    values = np.random.default_rng(3).normal(8e6, 1e6, size=400)
    low, high = interval_of_tests([[value] * 5 for value in values], 0.5, 100)
    half = 1.96e6 * math.sqrt(math.pi / 2 * (1 / 100 + 1 / 400))
    assert low < np.median(values) < high
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)
