"""How long one predict takes, per batch size, and how much that makes in a second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np

from analysis.queries import latencies_of
from analysis.resampling import drawn_means, interval
from analysis.statistics import Statistics, statistics_of
from bus.messages import LEVELS, Level, RunMeasured

CONFIDENCE = 0.95
GAIN = 1.05
"""What doubling the batch must bring at least, to be worth it."""
RESAMPLES = 1_000
NS = 1_000_000_000


class LatencyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One batch size. Times are of one predict call, in ns; throughput is in inputs/s.

    A percentile is None where there were too few queries for it; `needs` says how many it
    takes. median_low_ns, median_high_ns: 95 % confidence, None below 6 queries; so are
    throughput_low, throughput_high, by the bootstrap of the mean; where neighbouring queries are
    alike all four are drawn in blocks. batch_size 0: not known, and so no throughput either.
    statistics: outliers, drift, warm-up and what else must be known of the series as a whole.
    """

    job_id: str
    node_id: str
    batch_size: int
    run: int
    level: Level
    queries: int
    p50_ns: int | None
    p90_ns: int | None
    p99_ns: int | None
    mean_ns: float
    trimmed_mean_ns: float
    median_low_ns: int | None
    median_high_ns: int | None
    throughput: float | None
    throughput_low: float | None
    throughput_high: float | None
    needs: dict[str, str] = {}
    statistics: Statistics | None = None


class BestBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The batch size to use, its throughput in inputs/s, and by which rule it was chosen."""

    batch_size: int
    throughput: float
    rule: str


class MeasuredRun(msgspec.Struct, frozen=True, kw_only=True):
    """All queries of one run, whose times may have come in several messages. In ns, unsorted.

    durations_ns: of the predict calls alone; latencies_ns: of the queries, as their scenario means
    it (`latencies_of`).
    """

    job_id: str
    node_id: str
    run: int
    batch_size: int
    level: Level
    durations_ns: list[int]
    latencies_ns: list[int] = []
    scenario: str = "online"


def latency(runs: Sequence[RunMeasured]) -> list[LatencyRow]:
    """One row a job and batch size, from the shallowest level's run that has it.

    Leveled experimentation (XSP, arXiv 1908.06869): a deeper level slows the ones above it, so
    each number is taken from the run that disturbs it least. The caller chooses the attempts.
    """
    chosen: dict[tuple[str, int], MeasuredRun] = {}
    for run in measured_runs(runs):
        chosen.setdefault((run.job_id, run.batch_size), run)
    return [_row(run) for run in chosen.values() if run.durations_ns]


def measured_runs(runs: Sequence[RunMeasured]) -> list[MeasuredRun]:
    """Each run whole, by job, batch size, level (the shallowest first) and index."""
    parts: dict[tuple[str, int], list[RunMeasured]] = {}
    for part in runs:
        parts.setdefault((part.job_id, part.run), []).append(part)
    whole = []
    for (job_id, index), found in parts.items():
        found.sort(key=lambda part: part.first_query)
        whole.append(
            MeasuredRun(
                job_id=job_id,
                node_id=found[0].node_id,
                run=index,
                batch_size=found[0].batch_size,
                level=found[0].level,
                durations_ns=[ns for part in found for ns in part.durations_ns],
                latencies_ns=latencies_of(found),
                scenario=found[0].scenario,
            )
        )
    return sorted(whole, key=lambda r: (r.job_id, r.batch_size, LEVELS.index(r.level), r.run))


def _row(run: MeasuredRun) -> LatencyRow:
    times = sorted(run.durations_ns)
    n, total_ns = len(times), sum(times)
    told = statistics_of(run.durations_ns)
    low, high = _median_bounds(times, told) or (None, None)
    quick, slow = (_mean_bounds(run, times, told) if run.batch_size else None) or (None, None)
    return LatencyRow(
        job_id=run.job_id,
        node_id=run.node_id,
        batch_size=run.batch_size,
        run=run.run,
        level=run.level,
        queries=n,
        p50_ns=percentile(times, 50),
        p90_ns=percentile(times, 90) if n >= 10 else None,
        p99_ns=percentile(times, 99) if n >= 100 else None,
        mean_ns=total_ns / n,
        trimmed_mean_ns=trimmed_mean(times),
        median_low_ns=low,
        median_high_ns=high,
        throughput=_per_second(run.batch_size * n, total_ns) if run.batch_size else None,
        throughput_low=_per_second(run.batch_size, slow) if slow is not None else None,
        throughput_high=_per_second(run.batch_size, quick) if quick is not None else None,
        needs={
            name: f"needs {least} queries"
            for name, least in (("p90", 10), ("p99", 100), ("median interval", 6))
            if n < least
        },
        statistics=told,
    )


def _median_bounds(times: Sequence[int], told: Statistics) -> tuple[int, int] | None:
    """By order statistics, which need independent queries; else as the block bootstrap says."""
    if told.autocorrelated and told.median is not None:
        return math.floor(told.median.low), math.ceil(told.median.high)
    return median_interval(times)


def _mean_bounds(
    run: MeasuredRun, times: Sequence[int], told: Statistics
) -> tuple[float, float] | None:
    if told.autocorrelated:
        found = interval(sum(times) / len(times), drawn_means(run.durations_ns))
        return found.low, found.high
    return mean_interval(times)


def percentile(times: Sequence[int], percent: int) -> int:
    """The nearest rank: the smallest value that `percent` of 100 do not exceed. Sorted input."""
    return times[max(-(-len(times) * percent // 100) - 1, 0)]


def trimmed_mean(times: Sequence[float]) -> float:
    """The mean without the fifth at either end, as the original has it. Sorted input.

    From rai-project/evaluation (fraction 0.2), quirk included: of four values only the largest
    is dropped.
    """
    n = len(times)
    if n < 3:
        return sum(times) / n if n else 0.0
    if n == 3:
        return float(times[1])
    low, high = n // 5, min(n - 1, n - n // 5)
    return round(sum(times[low:high]) / (high - low), 3)


def median_interval(times: Sequence[int]) -> tuple[int, int] | None:
    """An interval that holds the median with 95 % confidence, whatever the distribution.

    Two order statistics, by the binomial distribution with p = 1/2 (Conover, Practical
    Nonparametric Statistics, 3.2). Sorted input; None when there are too few values.
    """
    n = len(times)
    rank, below = -1, 0.0
    first = max(0, int(n / 2 - 6 * math.sqrt(n)))  # what lies further out weighs nothing
    for k in range(first, n // 2):
        below += math.exp(
            math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
        )
        if below > (1 - CONFIDENCE) / 2:
            break
        rank = k
    return (times[rank], times[n - 1 - rank]) if rank >= 0 else None


def mean_interval(times: Sequence[int]) -> tuple[float, float] | None:
    """An interval that holds the mean with 95 % confidence: the percentile bootstrap, seeded.

    Efron and Tibshirani, An Introduction to the Bootstrap, 13.3. None below 6 values; above
    20,000 the normal approximation, which is the same by then.
    """
    values, n = np.asarray(times, np.float64), len(times)
    if n < 6:
        return None
    if n > 20_000:
        half = 1.959964 * float(values.std(ddof=1)) / math.sqrt(n)
        return float(values.mean()) - half, float(values.mean()) + half
    rng = np.random.default_rng(0)
    means = [values[rng.integers(0, n, n)].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def best_batch(rows: Sequence[LatencyRow]) -> BestBatch | None:
    """The batch size for throughput, of one job's rows.

    On doubling sizes, the smallest B for which T(2B) <= 1.05 T(B) (XSP), or the largest when
    each doubling paid. On other sizes the highest throughput.
    """
    rates = {row.batch_size: row.throughput for row in rows if row.throughput is not None}
    if not rates:
        return None
    ordered = sorted(rates.items())
    if len(ordered) > 1 and all(b[0] == 2 * a[0] for a, b in pairwise(ordered)):
        for (size, rate), (_, twice) in pairwise(ordered):
            if twice <= GAIN * rate:
                return _best(size, rate, "the smallest batch whose doubling gains 5 % or less")
        rule = "the largest batch measured: each doubling gained more than 5 %"
        return _best(*ordered[-1], rule)
    rule = "the highest throughput" + (": sizes do not double" if len(ordered) > 1 else "")
    return _best(*max(ordered, key=lambda pair: pair[1]), rule)


def _best(batch_size: int, throughput: float, rule: str) -> BestBatch:
    return BestBatch(batch_size=batch_size, throughput=throughput, rule=rule)


def _per_second(inputs: int, time_ns: float) -> float:
    return inputs * NS / time_ns if time_ns > 0 else 0.0
