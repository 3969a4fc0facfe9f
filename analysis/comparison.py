"""Two evaluations held against each other: how much faster or slower, and can that be chance?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec
import numpy as np

from analysis.between_runs import Spread, widened
from analysis.comparability import Gate, gate
from analysis.disagreement import Disagreements, disagreements
from analysis.latency import MeasuredRun, measured_runs
from analysis.paired import Rightness, rightness
from analysis.queries import COLD, DUE
from analysis.resampling import (
    FEWEST,
    Interval,
    Values,
    drawn_means,
    drawn_quantiles,
    interval,
    ranks,
)
from bus.errors import InputError
from bus.messages import (
    EvaluationFailed,
    EvaluationFinished,
    JobStarted,
    Message,
    RunMeasured,
)

TOLERANCE = 0.02
"""What a difference must surely exceed to be called one: machines differ from themselves by less
than this from one hour to the next only when they are quiet."""
FEWEST_P99 = 100
METRICS = ("latency", "p99", "throughput", "accuracy")
SEEDS = (11, 12)
SINCE = {
    **dict.fromkeys(DUE, "latency counts from the instant at which a query was due"),
    "multi_stream": "latency counts from a query's first call to the end of its last",
    "offline": "latency is that of a predict call of the one query",
    COLD: "latency counts from the start of a process to the end of its first predict",
}
"""Where a query's latency is not a predict call, what it is."""
CALL = "latency is that of a predict call"
Verdict = Literal["faster", "slower", "more right", "less right", "no evidence", ""]
WORSE = ("slower", "less right")


class MetricRow(msgspec.Struct, frozen=True, kw_only=True):
    """One figure at one batch size: B against A, in ns or inputs/s.

    latency: the median of what a query takes, as its scenario means it (`latencies_of`); without a
    load that is a predict call.

    difference = B - A and ratio = B / A with 95 % bootstrap intervals. effect: Cliff's delta, the
    chance that a query of B takes longer than one of A less the chance that it takes less, -1 to 1
    (Cliff, Dominance Statistics, Psychological Bulletin 114, 1993). verdict `no evidence` where the
    ratio's interval does not lie wholly beyond the tolerance; within: it lies wholly inside it.
    between_runs: what earlier runs say of how they vary, and the ratio's interval holds.
    """

    metric: str
    batch_size: int
    unit: str
    queries_a: int
    queries_b: int
    a: float
    b: float
    difference: Interval | None = None
    ratio: Interval | None = None
    effect: float | None = None
    verdict: Verdict = "no evidence"
    within: bool = False
    between_runs: Spread | None = None
    note: str = ""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """B against A. headline: the sentence that may be told; empty where the gate refuses one.

    forced: it was refused, and is told all the same. worse: B is slower or less right, surely.
    """

    a: str
    b: str
    evaluation_a: str
    evaluation_b: str
    tolerance: float
    gate: Gate
    metrics: list[MetricRow]
    accuracy: Rightness | None = None
    answers: Disagreements | None = None
    headline: str = ""
    forced: bool = False
    worse: bool = False


@dataclass(frozen=True)
class Wanted:
    """What is compared. metrics: those of METRICS; across: what was meant to differ.

    between: batch size -> how earlier runs of the same differ among themselves; it goes into the
    intervals of ratios, for the queries of one run cannot tell it.
    """

    metrics: Sequence[str] = METRICS
    tolerance: float = TOLERANCE
    across: str = ""
    force: bool = False
    between: Mapping[int, Spread] = field(default_factory=dict)


def compare(
    facts_a: Sequence[Message], facts_b: Sequence[Message], wanted: Wanted | None = None
) -> Comparison:
    """Hold the first job of B against the first job of A.

    Raises InputError where one of them has not ended well, or they have nothing in common.
    """
    wanted = wanted or Wanted()
    a, b = ended(facts_a), ended(facts_b)
    found = gate(facts_a, facts_b, wanted.across)
    metrics = [*_metric_rows(facts_a, facts_b, wanted)]
    both = bool(a.dataset and b.dataset)
    judged = rightness(facts_a, facts_b) if both and "accuracy" in wanted.metrics else None
    if not metrics and judged is None:
        raise InputError(_nothing_shared(facts_a, facts_b))
    told = found.comparable or wanted.force
    return Comparison(
        a=title(a),
        b=title(b),
        evaluation_a=a.evaluation_id,
        evaluation_b=b.evaluation_id,
        tolerance=wanted.tolerance,
        gate=found,
        metrics=metrics,
        accuracy=judged,
        answers=disagreements(facts_a, facts_b),
        headline=_headline(metrics, judged) if told else "",
        forced=wanted.force and not found.comparable,
        worse=any(row.verdict in WORSE for row in metrics)
        or (judged is not None and judged.verdict in WORSE),
    )


def title(started: JobStarted) -> str:
    """What ran, in a line."""
    parts = (started.model, started.model_version, started.framework, started.framework_version)
    return f"{' '.join(parts)} on {started.node_id}"


def ended(facts: Sequence[Message]) -> JobStarted:
    """Its first job; InputError where it has not ended well."""
    started = next((fact for fact in facts if isinstance(fact, JobStarted)), None)
    if started is None:
        raise InputError("an evaluation of which nothing ran: expected one that finished")
    name = started.evaluation_id[:8]
    for fact in facts:
        if isinstance(fact, EvaluationFailed):
            text = f"evaluation {name} {fact.kind}: {fact.text}"
            raise InputError(f"{text}; expected one that finished: run it again")
    if not any(isinstance(fact, EvaluationFinished) for fact in facts):
        raise InputError(f"evaluation {name} has not ended yet: compare it when it has")
    return started


# ---------------------------------------------------------------- latency and throughput


def shallowest(facts: Sequence[Message]) -> dict[int, MeasuredRun]:
    """Of the first job: batch size -> the run that looking disturbed least."""
    runs = [fact for fact in facts if isinstance(fact, RunMeasured)]
    first = next((f.job_id for f in facts if isinstance(f, JobStarted)), "")
    chosen: dict[int, MeasuredRun] = {}
    for run in measured_runs([run for run in runs if run.job_id == first]):
        if run.durations_ns:
            chosen.setdefault(run.batch_size, run)
    return chosen


def _metric_rows(
    facts_a: Sequence[Message], facts_b: Sequence[Message], wanted: Wanted
) -> Iterator[MetricRow]:
    runs_a, runs_b = shallowest(facts_a), shallowest(facts_b)
    for size in sorted(runs_a.keys() & runs_b.keys()):
        both, spread = (runs_a[size], runs_b[size]), wanted.between.get(size)
        queries = replace(Pair.of_queries(*both, wanted.tolerance), spread=spread)
        if "latency" in wanted.metrics:
            yield queries.quantile("latency", 0.5)
        if "p99" in wanted.metrics:
            yield queries.quantile("p99", 0.99, FEWEST_P99)
        if "throughput" in wanted.metrics and size:
            yield replace(Pair.of_calls(*both, wanted.tolerance), spread=spread).throughput()


@dataclass(frozen=True)
class Pair:
    """The times of one batch size on both sides, in the order in which they were measured."""

    batch_size: int
    a: Values
    b: Values
    tolerance: float
    note: str = ""
    spread: Spread | None = None

    @classmethod
    def of_queries(cls, a: MeasuredRun, b: MeasuredRun, tolerance: float) -> Pair:
        """What the queries took, as their scenario means it; what that is is noted."""
        times_a, times_b = (np.asarray(run.latencies_ns, np.float64) for run in (a, b))
        one, two = (SINCE.get(run.scenario, "") for run in (a, b))
        since = one if one == two else f"A: {one or CALL}; B: {two or CALL}"
        note = "; ".join(filter(None, (_levels(a, b), since)))
        return cls(a.batch_size, times_a, times_b, tolerance, note)

    @classmethod
    def of_calls(cls, a: MeasuredRun, b: MeasuredRun, tolerance: float) -> Pair:
        """What the predict calls took."""
        times_a, times_b = (np.asarray(run.durations_ns, np.float64) for run in (a, b))
        return cls(a.batch_size, times_a, times_b, tolerance, _levels(a, b))

    def quantile(self, metric: str, part: float, fewest: int = FEWEST) -> MetricRow:
        """A quantile of the latency; a longer one is slower."""
        a, b = (float(_quantile(times, part)) for times in (self.a, self.b))
        row = self._row(metric, "ns", a, b)
        if min(len(self.a), len(self.b)) < fewest:
            return msgspec.structs.replace(row, note=f"needs {fewest} queries on both sides")
        drawn = [
            drawn_quantiles(x, part, seed=s) for x, s in zip((self.a, self.b), SEEDS, strict=True)
        ]
        return self._judged(row, drawn[0], drawn[1], slower_if_more=True)

    def throughput(self) -> MetricRow:
        """Inputs a second while predicting; fewer are slower."""
        a, b = (self._rate(np.asarray([times.mean()])) for times in (self.a, self.b))
        row = self._row("throughput", "inputs/s", float(a[0]), float(b[0]))
        if min(len(self.a), len(self.b)) < FEWEST:
            return msgspec.structs.replace(row, note=f"needs {FEWEST} queries on both sides")
        drawn = [
            self._rate(drawn_means(x, seed=s)) for x, s in zip((self.a, self.b), SEEDS, strict=True)
        ]
        return self._judged(row, drawn[0], drawn[1], slower_if_more=False)

    def _rate(self, mean_ns: Values) -> Values:
        return self.batch_size * 1e9 / mean_ns

    def _row(self, metric: str, unit: str, a: float, b: float) -> MetricRow:
        return MetricRow(
            metric=metric,
            batch_size=self.batch_size,
            unit=unit,
            queries_a=len(self.a),
            queries_b=len(self.b),
            a=a,
            b=b,
            note=self.note,
        )

    def _judged(self, row: MetricRow, a: Values, b: Values, slower_if_more: bool) -> MetricRow:
        ratio = interval(row.b / row.a if row.a else 0.0, b / a)
        if self.spread is not None and ratio.low > 0:
            ratio = widened(ratio, self.spread.reach)
        more, less = ratio.low > 1 + self.tolerance, ratio.high < 1 / (1 + self.tolerance)
        verdict: Verdict = "no evidence"
        if more or less:
            verdict = "slower" if more == slower_if_more else "faster"
        inside = 1 / (1 + self.tolerance) <= ratio.low and ratio.high <= 1 + self.tolerance
        return msgspec.structs.replace(
            row,
            difference=interval(row.b - row.a, b - a),
            ratio=ratio,
            effect=cliffs_delta(self.a, self.b),
            verdict=verdict,
            within=inside,
            between_runs=self.spread,
        )


def _levels(a: MeasuredRun, b: MeasuredRun) -> str:
    return f"measured at {a.level} and at {b.level} level" if a.level != b.level else ""


def cliffs_delta(a: Values, b: Values) -> float:
    """P(b > a) - P(b < a), of all pairs: by the ranks of both together (Mann-Whitney's U)."""
    order = ranks(np.concatenate([a, b]))
    wins = order[len(a) :].sum() - len(b) * (len(b) + 1) / 2
    return float(2 * wins / (len(a) * len(b)) - 1)


def size_of_effect(delta: float) -> str:
    """Cliff's delta in a word (Romano et al., 2006: 0.147, 0.33 and 0.474 are the borders)."""
    for border, word in ((0.147, "negligible"), (0.33, "small"), (0.474, "medium")):
        if abs(delta) < border:
            return word
    return "large"


def _quantile(times: Values, part: float) -> float:
    rank = max(int(np.ceil(len(times) * part)), 1) - 1
    return float(np.partition(times, rank)[rank])


# ---------------------------------------------------------------- in words


def _headline(metrics: Sequence[MetricRow], judged: Rightness | None) -> str:
    said = [_sentence(row) for row in metrics if row.metric == "latency"]
    said = said or [_sentence(row) for row in metrics]
    if judged is not None:
        said.append(_about_answers(judged))
    return "; ".join(said)


def _sentence(row: MetricRow) -> str:
    at = f"at batch {row.batch_size}" if row.batch_size else "per call"
    if row.ratio is None:
        return f"no evidence about {row.metric} {at} ({row.note})"
    found = row.ratio
    times = f"×{found.value:.3f}, 95 % {found.low:.3f}–{found.high:.3f}"
    if row.verdict == "no evidence":
        same = "no difference that matters" if row.within else "no evidence of a difference"
        return f"{same} in {row.metric} {at} ({times})"
    return f"B is {row.verdict} {at}: {row.metric} {times}"


def _about_answers(judged: Rightness) -> str:
    points = f"{100 * judged.difference.value:+.2f} points"
    reach = f"95 % {100 * judged.difference.low:+.2f} to {100 * judged.difference.high:+.2f}"
    if judged.verdict == "no evidence":
        return f"no evidence that either is more often right ({points}, {reach})"
    return f"B is {judged.verdict}: {points} ({reach}), p = {judged.p_value:.2g}"


def _nothing_shared(facts_a: Sequence[Message], facts_b: Sequence[Message]) -> str:
    sizes = [
        ", ".join(map(str, sorted(shallowest(facts)))) or "none" for facts in (facts_a, facts_b)
    ]
    text = f"nothing to compare: A was measured at batch sizes {sizes[0]}, B at {sizes[1]}"
    return f"{text}, and no metric asked for is in both; measure both alike"
