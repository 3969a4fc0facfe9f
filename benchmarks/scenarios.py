"""Our loads against MLPerf's load generator, driven from Python: its cost, and its percentiles."""

from __future__ import annotations

import tempfile
import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from analysis.scenarios import at
from benchmarks import loadgen, model_files, services
from benchmarks.effort import Effort
from benchmarks.intervals import exactly
from benchmarks.loadgen import Test
from benchmarks.overhead import middle
from benchmarks.report import Result, Row
from benchmarks.rounds import Block, Measure, Rounds, Sides, measure
from predictor_node.worker.convergence import Stop, query_times
from predictor_node.worker.issuing import Calls, Giving, arriving, one_by_one
from predictor_node.worker.measure import quiet_collector
from predictor_node.worker.scenario import Options, settle
from predictor_node.worker.trace import Times

RATE_QPS = 300.0
BUDGET = 1.0
BUSY = 0.3
"""The share of its time that the model's server is busy: a queue near its limit never repeats."""
WARM_UP = 10
SHARES = (0.5, 0.9)
DRAWS, SEED, TAILS = 2_000, 11, (2.5, 97.5)
EXPECTED_NS = 5_000_000
SIZE = 4
"""So many times an effort's queries make one test."""


@dataclass(frozen=True)
class Asked:
    """One test of either side: the same scenario, rate, number of queries and predict call."""

    scenario: str
    queries: int
    predict: Callable[[int], object]
    rate_qps: float = 0.0

    def test(self, seed: int) -> Test:
        """The same for LoadGen; the seed is that of its arrivals."""
        return Test(self.scenario, self.queries, self.rate_qps, EXPECTED_NS, seed=seed)


async def run(effort: Effort) -> Result:
    """An empty model shows what issuing costs; EfficientNet-Lite0 whether both say the same."""
    rows = [await _overhead(effort)]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        with services.running(()) as system:
            async with services.connected(system) as bus:
                files = await model_files.fetch(Path(name), bus)
        predict = _session(files.graph, files.tensor_file)
        took = latencies(Asked("single_stream", WARM_UP, predict), seed=0)
        rate_qps = BUSY * 1e9 / float(np.median(took))
        for scenario, rate in (("single_stream", 0.0), ("server", rate_qps)):
            rows += await _percentiles(Asked(scenario, effort.queries, predict, rate), effort)
    return Result(rows)


async def _overhead(effort: Effort) -> Row:
    """How long after it was due a query of an empty model is done, p50 of each test."""
    asked = Asked("server", SIZE * effort.queries, lambda samples: None, RATE_QPS)
    kept, seeds = Rounds(), count()

    async def ours() -> Block:
        return Block([0], [at(np.sort(latencies(asked, next(seeds))), 0.5)])

    def theirs() -> Measure:
        again = count()

        async def block() -> Block:
            told = loadgen.run(asked.test(next(again)), asked.predict).detail
            return Block([0], [told["result_50.00_percentile_latency_ns"]])

        return block

    await measure("scenarios", Sides(ours, theirs(), theirs()), effort, kept)
    return Row(
        what="server, an empty model: due to done, p50, our loop / LoadGen from Python",
        ours=middle(kept.ours),
        theirs=middle(kept.theirs),
        unit="ms",
        compared=kept.ratio(lambda block: block.median_ns),
        at_most=BUDGET,
        same=kept.same(lambda block: block.median_ns),
        note=f"{len(kept.ours)} tests of {asked.queries} queries a side at {RATE_QPS:g}/s; "
        "our thread spins for the last 0.15 ms before each is due",
    )


async def _percentiles(asked: Asked, effort: Effort) -> list[Row]:
    """Whether our percentiles lie inside LoadGen's 95 % interval, on the same model.

    In each round every side's queries are due at the same instants, and in each at others: how far
    a tail goes is first of all a matter of how the queries happen to come.
    """
    kept, seeds = Rounds(), count()

    async def ours() -> Block:
        times = latencies(asked, next(seeds))
        return Block([0] * len(times), times.tolist())

    def theirs() -> Measure:
        again = count()

        async def block() -> Block:
            test = replace(asked.test(next(again)), traced=True)
            times = loadgen.run(test, asked.predict).latencies_ns
            return Block([0] * len(times), times)

        return block

    await measure(f"scenarios, {asked.scenario}", Sides(ours, theirs(), theirs()), effort, kept)
    return [_inside(asked, kept, share) for share in SHARES]


def _inside(asked: Asked, kept: Rounds, share: float) -> Row:
    found = at(np.sort(_joined(kept.ours)), share)
    blocks = [*kept.theirs, *kept.again]
    theirs = [block.durations_ns for block in blocks]
    low, high = interval_of_tests(theirs, share, len(kept.ours))
    outside_ns = max(low - found, found - high, 0.0)
    return Row(
        what=f"{asked.scenario} p{100 * share:g}: outside LoadGen's 95 % interval by",
        ours=found / 1e6,
        theirs=at(np.sort(_joined(blocks)), share) / 1e6,
        unit="ms",
        compared=exactly(outside_ns / 1e6),
        sign="ms",
        at_most=0.0,
        note=f"in {len(kept.ours)} tests of {asked.queries} queries, as ours are, LoadGen's lies "
        f"at {low / 1e6:.3f}–{high / 1e6:.3f} ms, by {len(blocks)} of its tests between ours",
    )


def interval_of_tests(
    blocks: Sequence[Sequence[int]], share: float, tests: int
) -> tuple[float, float]:
    """Where 95 % of the percentiles of as many tests more would lie, by these: ours have their
    chance too. Whole tests are drawn again: what one test's minute did to all its queries counts
    once."""
    draw = np.random.default_rng(SEED)
    arrays = [np.asarray(block, float) for block in blocks]

    def percentile(count: int) -> float:
        drawn = [arrays[i] for i in draw.integers(0, len(arrays), count)]
        return at(np.sort(np.concatenate(drawn)), share)

    found = at(np.sort(np.concatenate(arrays)), share)
    apart = [percentile(tests) - percentile(len(arrays)) for _ in range(DRAWS)]
    low, high = np.percentile(apart, TAILS)
    return found + float(low), found + float(high)


def latencies(asked: Asked, seed: int) -> np.ndarray:
    """One test by our own loops, as the worker runs them."""
    options = Options(
        name=asked.scenario,
        target_qps=asked.rate_qps,
        min_duration_s=0.0,
        min_queries=asked.queries,
    )
    load, times = settle(options, 1, asked.queries, seed), Times(0)
    calls = Calls(
        predict=lambda handle, batch: asked.predict(1),
        handle=None,
        batches=[{}],
        order=array("q", [0]),
        cancelled=threading.Event(),
    )
    with quiet_collector():
        if load.arriving:
            return _arrived(loadgen.arrivals(asked.test(seed)), calls, times)
        one_by_one(calls, 1, times, Stop(load, values_ns=query_times(load)))
    return np.array(times.durations_ns, np.int64)


def _arrived(due_ns: array[int], calls: Calls, times: Times) -> np.ndarray:
    arriving(calls, 1, due_ns, 1, Giving(), times)
    ends = np.array(times.starts_ns, np.int64) + np.array(times.durations_ns, np.int64)
    return np.asarray(ends - times.begin_ns - np.array(due_ns, np.int64))


def _session(graph: Path, tensor: Path) -> Callable[[int], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options)
    given = {session.get_inputs()[0].name: np.load(tensor)}
    return lambda samples: session.run(None, given)


def _joined(blocks: Sequence[Block]) -> np.ndarray:
    return np.concatenate([np.asarray(block.durations_ns, np.int64) for block in blocks])
