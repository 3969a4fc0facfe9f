"""What one change of a specification did: to accuracy, to single answers, to latency."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from analysis.comparison import MetricRow, Pair, cliffs_delta, shallowest, size_of_effect
from analysis.disagreement import answers, said
from analysis.items import is_right
from analysis.latency import percentile, trimmed_mean
from analysis.proportions import Share, mcnemar, share
from bus.errors import InputError
from bus.messages import Message, Prediction


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """The altered run against the baseline, on the same labelled items.

    flips: items with another answer; broken: right before and wrong after; mended: the reverse;
    p_value: of the exact McNemar test. moved: the most that any stored probability changed. none:
    no answer and no probability changed at all. reproduces: two runs of the baseline are the same,
    number by number; None: it was run once.
    """

    items: int
    baseline_top1: Share
    altered_top1: Share
    baseline_top5: Share
    altered_top5: Share
    delta_top1: float
    delta_top5: float
    flips: int
    broken: int
    mended: int
    p_value: float
    moved: float | None
    none: bool
    reproduces: bool | None
    latency: MetricRow | None
    text: str = ""


def effect(
    baseline: Sequence[Message], altered: Sequence[Message], again: Sequence[Message] = ()
) -> Effect:
    """Compare two runs of one dataset of which one field of the specification differs."""
    one, two = answers(baseline), answers(altered)
    names = [name for name in one if name in two]
    labelled = [name for name in names if is_right(one[name]) is not None]
    if not labelled:
        raise InputError("no item has a label: expected a labelled dataset")
    # What counts as right is the baseline's truth: an edit of labels must not move the measure.
    before = {name: is_right(one[name]) for name in labelled}
    after = {name: is_right(two[name]) for name in labelled}
    broken = sum(bool(before[name] and not after[name]) for name in labelled)
    mended = sum(bool(after[name] and not before[name]) for name in labelled)
    tops = [
        share(sum(_within(side[name], k) for name in labelled), len(labelled))
        for side in (one, two)
        for k in (1, 5)
    ]
    moved = [m for name in names if (m := _moved(one[name], two[name])) is not None]
    found = Effect(
        items=len(labelled),
        baseline_top1=tops[0],
        altered_top1=tops[2],
        baseline_top5=tops[1],
        altered_top5=tops[3],
        delta_top1=(tops[2].right - tops[0].right) / len(labelled),
        delta_top5=(tops[3].right - tops[1].right) / len(labelled),
        flips=sum(said(one[name]) != said(two[name]) for name in names),
        broken=broken,
        mended=mended,
        p_value=mcnemar(broken, mended),
        moved=max(moved) if moved else None,
        none=all(_same(one[name], two[name]) for name in names),
        reproduces=_all_same(baseline, again) if again else None,
        latency=_latency(baseline, altered),
    )
    return msgspec.structs.replace(found, text=_in_words(found))


def _within(prediction: Prediction, k: int) -> bool:
    """Whether the true class is among the first k; of texts, whether they are right."""
    if prediction.truth is None or prediction.truth.index < 0:
        return bool(is_right(prediction))
    return prediction.truth.index in [score.index for score in prediction.classes[:k]]


def _same(one: Prediction, two: Prediction) -> bool:
    """Whether all is the same that the model said, whatever is true."""
    a, b = (msgspec.structs.replace(each, truth=None) for each in (one, two))
    return a == b and is_right(one) == is_right(two)


def _all_same(one: Sequence[Message], two: Sequence[Message]) -> bool:
    a, b = answers(one), answers(two)
    return a == b


def _moved(one: Prediction, two: Prediction) -> float | None:
    other = {score.index: score.probability for score in two.classes}
    both = [abs(s.probability - other[s.index]) for s in one.classes if s.index in other]
    return max(both) if both else None


def _latency(baseline: Sequence[Message], altered: Sequence[Message]) -> MetricRow | None:
    one, two = shallowest(baseline), shallowest(altered)
    shared = sorted(one.keys() & two.keys())
    if not shared:
        return None
    return Pair.of_queries(one[shared[0]], two[shared[0]], 0.02).quantile("latency", 0.5)


def _in_words(found: Effect) -> str:
    if found.none:
        return f"no effect: all {found.items} answers and their numbers are the same"
    if not found.flips and not (found.broken or found.mended):
        moved = f", though numbers move by up to {found.moved:.2g}" if found.moved else ""
        return f"no answer changes{moved}"
    sure = "surely" if found.p_value < 0.05 else "perhaps by chance"
    if not found.broken and not found.mended:
        return f"{found.flips} answers change, none between right and wrong"
    points = 100 * found.delta_top1
    if points == 0:
        return f"as many right as before: {found.broken} broken, {found.mended} mended"
    same = ", though the numbers are the same" if found.moved == 0 else ""
    return f"top-1 {points:+.2f} points, {sure} (p = {found.p_value:.2g}, n = {found.items}){same}"


# ---------------------------------------------------------------- cold and warm


class ColdWarm(msgspec.Struct, frozen=True, kw_only=True):
    """First calls after a model was opened, beside later ones; times in ns, sorted.

    ratio: of the medians. effect: Cliff's delta. opened_ns: how long opening took, each time.
    """

    cold_ns: list[int]
    warm_ns: list[int]
    opened_ns: list[int]
    cold_median_ns: int
    warm_median_ns: int
    ratio: float
    effect: float
    text: str


def cold_warm(cold_ns: Sequence[int], warm_ns: Sequence[int], opened_ns: Sequence[int]) -> ColdWarm:
    """Two distributions; InputError where one of them is empty."""
    if not cold_ns or not warm_ns:
        raise InputError(f"{len(cold_ns)} cold and {len(warm_ns)} warm calls: some are expected")
    cold, warm = sorted(cold_ns), sorted(warm_ns)
    medians = percentile(cold, 50), percentile(warm, 50)
    ratio = medians[0] / medians[1] if medians[1] else 0.0
    delta = cliffs_delta(np.asarray(warm, np.float64), np.asarray(cold, np.float64))
    return ColdWarm(
        cold_ns=cold,
        warm_ns=warm,
        opened_ns=sorted(opened_ns),
        cold_median_ns=medians[0],
        warm_median_ns=medians[1],
        ratio=ratio,
        effect=delta,
        text=f"the first call takes ×{ratio:.2f} a later one ({size_of_effect(delta)} effect)",
    )


# ---------------------------------------------------------------- one run, told in several ways


class StatisticRow(msgspec.Struct, frozen=True, kw_only=True):
    """One way to sum up the same times, and by how many percent it is off the median."""

    statistic: str
    value_ns: float
    off_percent: float


def statistics_of_one_run(durations_ns: Sequence[int]) -> list[StatisticRow]:
    """The figures that people call "the latency", of one and the same run."""
    times = sorted(durations_ns)
    if not times:
        raise InputError("nothing was measured: one query is expected at least")
    middle = percentile(times, 50)
    told = {
        "median": float(middle),
        "mean": sum(times) / len(times),
        "trimmed mean (0.2)": trimmed_mean(times),
        "fastest": float(times[0]),
        "p90": float(percentile(times, 90)),
        "p99": float(percentile(times, 99)),
        "slowest": float(times[-1]),
    }
    return [
        StatisticRow(statistic=name, value_ns=value, off_percent=100 * (value / middle - 1))
        for name, value in told.items()
    ]
