"""One run under a load: its batches and its plan made beforehand, its loop, what is told of it."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrivals import due_of, sample_order
from .convergence import Stop, query_times, warming
from .errors import Cancelled, WorkerError
from .fed import Fed
from .feeding import Bound
from .issuing import FOREVER_NS, Calls, Giving, Ticks, arriving, keep_whole, one_by_one
from .job import Run
from .measure import Batch, progress, quiet_collector
from .measure_hooked import Hook
from .models import Opened, prediction_failed
from .scenario import NS, Load, Options, offline_samples, settle
from .searching import search
from .trace import Times

if TYPE_CHECKING:
    from .runner import JobRun

MEASURED_CALLS = 50_000  # a frame
ALL_BATCHES = 1 << 30


@dataclass(slots=True)
class Outcome:
    """What came of a run: its times, what each call was fed, when its queries were due."""

    load: Load
    times: Times
    fed: array[int]
    due_ns: array[int] | None = None
    ended: str = ""
    warming: int = 0
    probes: Sequence[dict[str, Any]] = ()


class ScenarioRun:
    """A run of a job whose load was asked for."""

    def __init__(self, job_run: JobRun, run: Run, model: Opened, bound: Bound) -> None:
        self._job_run, self._run, self._model = job_run, run, model
        self._options = Options.of(run.options or {})
        self._load = settle(self._options, run.batch_size, run.queries, job_run.job.seed)
        if self._load.threads > 1 and not getattr(model.plugin, "CONCURRENT", False):
            text = f"{job_run.job.framework} does not say that it bears {self._load.threads}"
            raise WorkerError("request", f"{text} threads at once; issue_threads 1 is expected")
        self._batches = _batches(self._load, bound, job_run.items)

    def warm_up(self, times: Times) -> None:
        """So many calls, one on the completion of another; uncounted."""
        if times.starts_ns:
            queries = len(times.starts_ns)
            stop = Stop(self._load, exactly=queries)
            order = array("q", range(len(self._batches)))
            self._guarded(
                "warmup", queries, times, lambda: one_by_one(self._calls(order, ()), 1, times, stop)
            )

    def measure(self, hooks: Sequence[Hook], times: Times, warmed: Times) -> Outcome:
        """The measured run; `times` is where profilers look."""
        if self._load.find:
            return self._search()
        if self._load.arriving:
            due_ns = due_of(self._load, self._options.replay_ns)
            return self._arriving(self._load, due_ns, hooks, times)
        return self._one_by_one(hooks, times, warmed)

    # ---------------------------------------------------------------- the three ways

    def _one_by_one(self, hooks: Sequence[Hook], times: Times, warmed: Times) -> Outcome:
        load = self._offline(warmed) if self._load.name == "offline" else self._load
        each, exactly = load.calls_per_query, int(load.name == "offline")
        if load.once and not exactly:
            exactly = len(self._batches)
        # Drawn for more calls than the least: how many there will be is not known.
        calls = max(exactly or load.min_queries, 1 << 14) * each
        order = sample_order(load, len(self._batches), calls)
        stop = Stop(load, exactly=exactly, values_ns=query_times(load))
        total = exactly * each or load.min_queries * each
        called = self._calls(order, hooks)
        ended = self._guarded(
            "measure", total, times, lambda: one_by_one(called, each, times, stop)
        )
        fed = array("q", itertools.islice(itertools.cycle(order), times.done))
        warm = warming(query_times(load)(times))
        return Outcome(load, times, fed, ended=ended, warming=warm)

    def _offline(self, warmed: Times) -> Load:
        """With the rate that is expected, asked for or seen while warming up, and all samples."""
        load = self._load
        if load.once:
            return replace(load, samples_per_query=len(self._batches) * load.batch_size)
        if not load.target_qps and load.min_ns and warmed.done:
            each_ns = float(np.median(warmed.durations_ns[: warmed.done]))
            load = replace(load, target_qps=round(load.batch_size * NS / max(each_ns, 1.0), 3))
        return replace(load, samples_per_query=offline_samples(load, load.target_qps))

    def _arriving(
        self,
        load: Load,
        due_ns: array[int],
        hooks: Sequence[Hook],
        times: Times,
        late: int = FOREVER_NS,
    ) -> Outcome:
        if load.once:
            due_ns = due_of(replace(load, min_queries=len(self._batches)))[: len(self._batches)]
        each = load.calls_per_query
        order = sample_order(load, len(self._batches), len(due_ns) * each)
        giving = Giving(load.max_ns or FOREVER_NS, load.bound_ns, late)
        calls = self._calls(order, hooks, load.threads)
        ended = self._guarded(
            "measure",
            len(due_ns),
            times,
            lambda: arriving(calls, each, due_ns, load.threads, giving, times),
        )
        kept = keep_whole(times, each)
        fed = np.array(order, np.int64)[
            (kept[:, None] * each + np.arange(each)).ravel() % len(order)
        ]
        due = array("q", np.array(due_ns, np.int64)[kept].tolist())
        return Outcome(load, times, array("q", fed.tolist()), due, ended)

    def _search(self) -> Outcome:
        """Probe after probe; what is told is the run of the rate that was found."""
        outcomes: list[Outcome] = []

        def issue(load: Load, due_ns: array[int], late: int) -> list[int]:
            outcomes.append(self._arriving(load, due_ns, (), Times(0), late))
            return latencies_ns(outcomes[-1])

        found, rule = search(self._load, issue), self._load.find
        ended = (
            f"{rule} found {found.rate:.4g} queries/s" if found.rate else f"{rule} found no rate"
        )
        return replace(outcomes[found.chosen], ended=ended, probes=found.probes)

    # ---------------------------------------------------------------- what they share

    def _calls(self, order: array[int], hooks: Sequence[Hook], threads: int = 1) -> Calls:
        return Calls(
            predict=self._model.plugin.predict,
            handle=self._model.handle,
            batches=self._batches,
            order=order,
            cancelled=self._job_run.cancelled,
            hooks=hooks,
            # A thread that spins keeps the interpreter from those that predict.
            ticks=Ticks() if threads == 1 else Ticks(spin_ns=0),
        )

    def _guarded(self, phase: str, total: int, times: Times, loop: Any) -> str:
        say, index = self._job_run.say, self._run.index
        try:
            with progress(say, index, phase, total, times), quiet_collector():
                ended: str = loop()
        except (Cancelled, WorkerError):
            raise
        except Exception as error:
            raise prediction_failed(self._job_run.job, error, self._batches[0]) from error
        return ended


def _batches(load: Load, bound: Bound, items: Sequence[Fed]) -> list[Batch]:
    """What calls are fed, made before any of them."""
    if load.once:
        return [bound.batch(rows) for rows, _ in bound.passes(items, load.batch_size)]
    return bound.batches(items, load.batch_size, ALL_BATCHES)


def latencies_ns(outcome: Outcome) -> list[int]:
    """Of each query that came when it was due, how long it took from then on."""
    assert outcome.due_ns is not None
    each, times = outcome.load.calls_per_query, outcome.times
    ends = np.array(times.starts_ns, np.int64) + np.array(times.durations_ns, np.int64)
    late = ends[each - 1 :: each] - np.array(outcome.due_ns, np.int64) - times.begin_ns
    return [int(found) for found in late]


def frames(outcome: Outcome, run: Run, epoch_start_ns: int) -> list[dict[str, Any]]:
    """What is told of a measured run, in pieces that fit into a message."""
    load, times = outcome.load, outcome.times
    starts = np.array(times.starts_ns, np.int64) - times.begin_ns
    each, scheduled = load.calls_per_query, np.zeros(0, np.int64)
    if outcome.due_ns is not None:
        scheduled = np.repeat(np.array(outcome.due_ns, np.int64), each)
    fed = outcome.fed if load.samples != "in turn" else array("q")
    told = []
    for first in range(0, max(len(starts), 1), MEASURED_CALLS):
        part = slice(first, first + MEASURED_CALLS)
        told.append(
            {
                "said": "measured",
                "run": run.index,
                "batch_size": run.batch_size,
                "level": run.level,
                "scenario": run.scenario,
                "start_ns": epoch_start_ns,
                "first_query": first,
                "starts_ns": starts[part].tolist(),
                "durations_ns": times.durations_ns[part].tolist(),
                "last": first + MEASURED_CALLS >= len(starts),
                "scheduled_ns": scheduled[part].tolist(),
                "samples": fed[part].tolist(),
                "calls_per_query": each,
                "samples_per_query": load.samples_per_query,
                "ended": outcome.ended,
                "effective": load.told() if first == 0 else {},
                "warming": outcome.warming,
                "probes": list(outcome.probes) if first == 0 else [],
            }
        )
    return told
