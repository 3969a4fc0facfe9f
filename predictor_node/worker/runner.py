"""One job: prepare its inputs, open its model, predict, warm up, measure, tell what was seen."""

from __future__ import annotations

import resource
import sys
import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from . import insides
from .arrivals import at_once
from .errors import Cancelled
from .fed import Fed
from .feeding import Bound, Feeding, of_one_shape, rows_of
from .job import Job, Run
from .measure import Batch, measure, progress, quiet_collector, settled
from .measure_hooked import Predicting, measure_hooked
from .models import Opened, WarmModels, prediction_failed, spec_of
from .predicting import Asker
from .profiling import Profiling
from .scenario import COLD
from .scenario_run import ScenarioRun, frames
from .software import loaded
from .trace import BLOCK_ROWS, FRAMEWORK, LEVELS, Clock, Times, Trace

MEASURED_QUERIES = 50_000  # a frame
PREDICTIONS = 256  # a frame
LAYERS = 100  # a frame of their outputs

Say = Callable[[dict[str, Any]], None]


def run_job(job: Job, models: WarmModels, say: Say, cancelled: threading.Event) -> None:
    """Everything from the job to its `finished` frame; raises WorkerError where it cannot go on."""
    kind = JobRun
    if job.dataset:
        from .dataset_run import DatasetRun
        from .pipelined_run import PipelinedRun

        kind = PipelinedRun if (job.runs[0].options or {}).get("pipelined") else DatasetRun
    elif job.runs[0].scenario == COLD:
        from .cold_run import ColdRun

        kind = ColdRun
    kind(job, models, say, cancelled).run()


class JobRun:
    """The state of one job: what its runs share."""

    def __init__(self, job: Job, models: WarmModels, say: Say, cancelled: threading.Event) -> None:
        self.job, self.models, self.say, self.cancelled = job, models, say, cancelled
        self.trace = Trace(job.span_base, job.parent_span, Clock(), say)
        self.profiling = Profiling(job, self.trace, say)
        self.unavailable: dict[str, str] = {}
        self.feeding = Feeding(job)
        self.items: list[Fed] = []
        self.graph_said = False
        self.counting = (0, 0)
        """The peak of memory before and after multiply-adds were counted, which is no run's."""

    def run(self) -> None:
        job = self.job
        for run in job.runs:
            self._begin(run)
            if not self.items:
                self._prepare()
            profile = self.trace.records(FRAMEWORK)
            with self.models.opened(job, profile) as model:
                self._say_opened(run, model)
                bound = self.feeding.bind(model, self.items[0])
                unmeasured = 0
                if run is job.runs[0] and not job.continued:
                    unmeasured = self._predict_items(run, model, bound)
                if run.options is not None:
                    self._measure_load(run, model, bound, unmeasured)
                    continue
                batches = bound.batches(self.items, run.batch_size, run.queries)
                self._measure(run, model, batches, unmeasured)
        self._finish()

    def _begin(self, run: Run) -> None:
        self.trace.begin_run(run.index, LEVELS.index(run.level))

    def _prepare(self) -> None:
        for item in self.job.items:
            self._check()
            with self.trace.span("decode", input=item.name):
                opened = self.feeding.open(item)
            with self.trace.span("preprocess", input=item.name):
                self.items.append(self.feeding.tensors(item, opened))
        if any(run.batch_size > 1 for run in self.job.runs):
            of_one_shape(self.items, "ask for batch size 1")

    def _say_opened(self, run: Run, model: Opened) -> None:
        framework = self.job.framework
        tags = {"framework": framework, "version": model.version, "cached": model.cached}
        self.trace.add(1, "open", model.start_ns, model.duration_ns, tags)
        about = model.about()
        about["settings"] = {**about["settings"], **self.feeding.settings()}
        if run is self.job.runs[0]:
            about["libraries"] = loaded(anew=not model.cached)
        self.say({"said": "opened", "run": run.index, "framework": framework, **about})

    def _predict_items(self, run: Run, model: Opened, bound: Bound) -> int:
        """One unmeasured pass over all items says what the model predicts; gives its calls."""
        said = Asker(self.job, model, bound, self._check).ask(self.items, run.batch_size)
        predictions = []
        for item, rows in said.items:
            with self.trace.span("postprocess", input=item.name):
                predictions.append(bound.say(item, rows, self.job.top_k, self.job.full_outputs))
        for first in range(0, len(predictions), PREDICTIONS):
            part = predictions[first : first + PREDICTIONS]
            self.say({"said": "predictions", "run": run.index, "first": first, "predictions": part})
        if insides.is_wanted(self.job.settings):
            self._say_insides(run, model, bound)
        return len(said.durations_ns)

    def _say_insides(self, run: Run, model: Opened, bound: Bound) -> None:
        """What the layers give for the first item; opens the model once more, for that alone."""
        item, look = self.items[0], getattr(model.plugin, "insides", None)
        if look is None:
            text = f"the framework module {self.job.framework} does not tell its layers' outputs"
            self.unavailable[insides.SETTING] = text
            return
        batch = bound.batch(rows_of([item])[:1] * (bound.fixed_batch or 1))
        try:
            layers = insides.sampled(look(spec_of(self.job), batch))
        except ImportError as error:
            self.unavailable[insides.SETTING] = f"{error}: install it in this environment"
            return
        said = {"said": "insides", "run": run.index, "input": item.name}
        for first in range(0, len(layers), LAYERS):
            self.say({**said, "first": first, "layers": layers[first : first + LAYERS]})

    def _measure(self, run: Run, model: Opened, batches: Sequence[Batch], unmeasured: int) -> None:
        predicting = Predicting(model.plugin.predict, model.handle, batches)
        self._loop(run, predicting, "warmup", Times(run.warmup))
        times = Times(run.queries)
        tags = {"run": run.index, "batch_size": run.batch_size, "level": run.level}
        with (
            self.profiling.around(run, model, times) as hooks,
            self.trace.span("run", **tags, queries=run.queries) as run_span,
        ):
            self._loop(run, replace(predicting, hooks=hooks), "measure", times)
        self._say_measured(run, times)
        with self._profile_progress(run, run.queries, times):
            self._add_predicts(run, times, run_span)
            if self.trace.records(FRAMEWORK):
                self._add_layers(run, model, times, unmeasured + run.warmup, batches[0])
        self.trace.flush()

    def _measure_load(self, run: Run, model: Opened, bound: Bound, unmeasured: int) -> None:
        """As `_measure`, of a load that was asked for."""
        load, warmed, times = ScenarioRun(self, run, model, bound), Times(run.warmup), Times(0)
        load.warm_up(warmed)
        tags = {"run": run.index, "batch_size": run.batch_size, "level": run.level}
        with (
            self.profiling.around(run, model, times) as hooks,
            self.trace.span("run", **tags, scenario=run.scenario) as run_span,
        ):
            outcome = load.measure(hooks, times, warmed)
        times = outcome.times
        for frame in frames(outcome, run, self.trace.clock.epoch_ns(times.begin_ns)):
            self.say(frame)
        with self._profile_progress(run, times.done, times):
            self._add_predicts(run, times, run_span)
            if self.trace.records(FRAMEWORK):
                self._add_layers(run, model, times, unmeasured + run.warmup)
        self.trace.flush()

    def _profile_progress(self, run: Run, total: int, times: Times) -> AbstractContextManager[None]:
        """How far what was measured has become spans, where that may take long enough to ask."""
        if total <= BLOCK_ROWS and not self.trace.records(FRAMEWORK):
            return nullcontext()
        return progress(self.say, run.index, "profile", total, times)

    def _loop(self, run: Run, predicting: Predicting, phase: str, times: Times) -> None:
        """The same code for warming up and for measuring, so that it is warm itself."""
        queries, cancelled = len(times.starts_ns), self.cancelled
        if not queries:
            return  # no warm-up was asked for
        due_ns = at_once(queries)
        try:
            if predicting.hooks:
                told = {"said": "progress", "run": run.index, "phase": phase, "total": queries}
                with quiet_collector():
                    tell = partial(self._tell_done, told, times)
                    measure_hooked(predicting, due_ns, times, cancelled, tell)
                return
            predict, handle, batches = predicting.predict, predicting.handle, predicting.batches
            with progress(self.say, run.index, phase, queries, times), quiet_collector():
                measure(predict, handle, batches, due_ns, times, cancelled)
        except Cancelled:
            raise
        except Exception as error:
            raise prediction_failed(self.job, error, predicting.batches[0]) from error

    def _tell_done(self, told: Mapping[str, Any], times: Times) -> None:
        self.say({**told, "done": times.done})

    def _say_measured(self, run: Run, times: Times) -> None:
        first_ns = times.starts_ns[0]
        is_settled, queries = settled(times.durations_ns), len(times.starts_ns)
        for first in range(0, queries, MEASURED_QUERIES):
            part = slice(first, first + MEASURED_QUERIES)
            self.say(
                {
                    "said": "measured",
                    "run": run.index,
                    "batch_size": run.batch_size,
                    "level": run.level,
                    "scenario": run.scenario,
                    "start_ns": self.trace.clock.epoch_ns(first_ns),
                    "first_query": first,
                    "starts_ns": [start_ns - first_ns for start_ns in times.starts_ns[part]],
                    "durations_ns": times.durations_ns[part].tolist(),
                    "settled": is_settled,
                    "last": first + MEASURED_QUERIES >= queries,
                }
            )

    def _add_predicts(self, run: Run, times: Times, run_span: int) -> None:
        for _ in self.trace.add_calls("predict", times, run.batch_size, run_span):
            self._check()

    def _add_layers(
        self, run: Run, model: Opened, times: Times, warmup_count: int, batch: Batch | None = None
    ) -> None:
        read = getattr(model.plugin, "layers", None)
        if read is None:
            text = f"the framework module {self.job.framework} reads no layers back"
            self.unavailable[LEVELS[FRAMEWORK]] = text
            return
        starts_ns = _as_numbers(times.starts_ns) + self.trace.clock.offset_ns
        layers = read(model.handle, starts_ns, _as_numbers(times.durations_ns), warmup_count)
        if not self.graph_said:
            self.graph_said = True
            before = peak_memory()
            macs, by = _multiply_adds(model, batch)
            self.counting = (before, peak_memory())
            graph = {"said": "graph", "run": run.index, "layers": layers.table}
            self.say({**graph, "macs": macs, "macs_by": by})
        self.trace.lose(layers.lost)
        if layers.reason:
            partly = "in part: " if len(layers.layer) else ""
            self.unavailable[LEVELS[FRAMEWORK]] = f"{partly}{layers.reason}"
        # One map a layer, shared by all its spans: equal tags compress to nothing.
        names, tags = [row["name"] for row in layers.table], [_tags(r) for r in layers.table]
        columns = (layers.layer, layers.starts_ns, layers.durations_ns, layers.threads)
        for first in range(0, len(layers.layer), BLOCK_ROWS):
            self._check()
            part = slice(first, first + BLOCK_ROWS)
            for layer, start_ns, took_ns, thread in zip(
                *(column[part].tolist() for column in columns), strict=True
            ):
                self.trace.add_layer(names[layer], start_ns, took_ns, thread, tags[layer])

    def _finish(self) -> None:
        self.trace.flush()
        before, after = self.counting
        peak = peak_memory()
        self.say(
            {
                "said": "finished",
                "spans": dict(self.trace.emitted),
                "lost": self.trace.lost,
                "peak_memory_bytes": before if after and peak == after else peak,
                "clock": self.trace.clock.report(),
                "unavailable": {**self.profiling.unavailable(), **self.unavailable},
            }
        )

    def _check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled


def peak_memory() -> int:
    """Of the process's whole life: the operating system keeps no peak of a part of it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _multiply_adds(model: Opened, batch: Batch | None) -> tuple[int, str]:
    """Those of one call, where the framework counts them; -1 and why not elsewhere."""
    count = getattr(model.plugin, "multiply_adds", None)
    if count is None or batch is None:
        return -1, "the framework module counts none" if count is None else ""
    try:
        macs, by = count(model.handle, batch)
    except Exception as error:  # counting is not what was asked for
        return -1, f"counting failed: {type(error).__name__}: {error}"
    return int(macs), str(by)


def _as_numbers(times_ns: array[int]) -> np.ndarray:
    return np.frombuffer(times_ns, np.int64)


def _tags(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's tags: nothing of one query is in them."""
    more = {name: layer[name] for name in ("module", "allocated_bytes") if layer.get(name)}
    return more | {
        "operator": layer["operator"],
        "index": layer["index"],
        "provider": layer["provider"],
        "input_shapes": [tensor["shape"] for tensor in layer["inputs"]],
        "output_shapes": [tensor["shape"] for tensor in layer["outputs"]],
        "output_bytes": layer["output_bytes"],
        "parameter_bytes": layer["parameter_bytes"],
    }
