"""One pass over a dataset: each item once, in order, measured and told beside what is true."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from .datasets import Dataset, open_dataset
from .datasets.matching import Matching
from .feeding import Bound, Fed, of_one_shape
from .job import Item, Run
from .measure import progress, quiet_collector
from .models import Opened
from .predicting import Asker
from .runner import JobRun
from .trace import FRAMEWORK, LEVELS, MODEL, Times

FRAME_ITEMS = 256
FRAME_BYTES = 2 << 20
"""What one frame of predictions may hold, so that it fits into one message."""


class DatasetRun(JobRun):
    """A job whose items come from a dataset: they are read as the run needs them."""

    def run(self) -> None:
        job = self.job
        assert job.dataset is not None
        with self.trace.span("open dataset", dataset=str(job.dataset.get("name", ""))):
            dataset = open_dataset(job.dataset, job.folder, job.limit)
        for run in job.runs:
            self._begin_pass(run)
            with self.models.opened(job, profile=False) as model:
                self._say_opened(run, model)
                self._pass(run, model, dataset)
        self._finish()

    def _begin_pass(self, run: Run) -> None:
        level = LEVELS.index(run.level)
        asked = max(level, LEVELS.index(self.job.level or run.level))
        for deeper in LEVELS[FRAMEWORK : asked + 1]:
            text = "a dataset is measured at model level: look deeper in a run of few inputs"
            self.unavailable[deeper] = text
        self.trace.begin_run(run.index, min(level, MODEL))

    def _pass(self, run: Run, model: Opened, dataset: Dataset) -> None:
        """The whole dataset; the clock is read around each predict call and nothing else."""
        times, frame, size = Times(0), Frame(self, run), run.batch_size
        bound, matching = self._bound(model, dataset)
        asker = Asker(self.job, model, bound, self._check)
        self._warm_up(run, asker, dataset)
        tags = {"run": run.index, "batch_size": size, "level": run.level, "items": len(dataset)}
        with (
            self.trace.span("run", **tags) as run_span,
            progress(self.say, run.index, "measure", len(dataset), times),
            quiet_collector(),
        ):
            for first, items in _chunks(dataset, size):
                with self.trace.span("prepare", first=first, items=len(items)):
                    fed = self._fed(items, matching)
                rows = sum(item.rows for item in fed)
                said = asker.ask(fed, size if bound.fixed_batch else min(size, rows))
                times.starts_ns.extend(said.starts_ns)
                times.durations_ns.extend(said.durations_ns)
                with self.trace.span("postprocess", first=first, items=len(items)):
                    for item, answers in said.items:
                        frame.add(bound.say(item, answers, self.job.top_k, self.job.full_outputs))
                times.done = first + len(items)
        frame.send()
        self._say_measured(run, times)
        self._add_predicts(run, times, run_span)
        self.trace.flush()

    def _bound(self, model: Opened, dataset: Dataset) -> tuple[Bound, Matching]:
        """The model's names beside the dataset's; a model that names no class takes the other's."""
        example = self._fed([next(iter(dataset))], Matching())
        bound = self.feeding.bind(model, example[0])
        names = dataset.reader.labels
        if not bound.labels and names and bound.outputs[0].get("type") == "classification":
            bound = replace(bound, labels=names)
        return bound, Matching.of(dataset.name, names, bound.labels)

    def _fed(self, items: Sequence[Item], matching: Matching) -> list[Fed]:
        self._check()
        fed = []
        for item in items:
            made = self.feeding.tensors(item, self.feeding.open(item))
            fed.append(replace(made, truth=matching.truth(item.name, item.truth)))
        if len(fed) > 1:
            of_one_shape(fed, "ask for batch size 1")
        return fed

    def _warm_up(self, run: Run, asker: Asker, dataset: Dataset) -> None:
        """The first batch, again and again, uncounted."""
        if not run.warmup:
            return
        fed = self._fed([*islice(dataset, run.batch_size)], Matching())
        with self.trace.span("warmup", queries=run.warmup):
            for _ in range(run.warmup):
                asker.ask(fed, run.batch_size)


class Frame:
    """Predictions on their way: told in frames that fit into a message."""

    def __init__(self, job_run: JobRun, run: Run) -> None:
        self._say, self._run = job_run.say, run.index
        self._first, self._bytes = 0, 0
        self._waiting: list[Mapping[str, Any]] = []

    def add(self, prediction: Mapping[str, Any]) -> None:
        size = _size(prediction)
        if self._waiting and self._bytes + size > FRAME_BYTES:
            self.send()
        self._waiting.append(prediction)
        self._bytes += size
        if len(self._waiting) >= FRAME_ITEMS:
            self.send()

    def send(self) -> None:
        """Tell what waits; outside the predict calls, so what has piled up is collected too."""
        if not self._waiting:
            return
        frame = {"said": "predictions", "run": self._run, "first": self._first}
        self._say({**frame, "predictions": self._waiting})
        self._first += len(self._waiting)
        self._waiting, self._bytes = [], 0
        gc.collect(1)


def _chunks(dataset: Dataset, size: int) -> Iterator[tuple[int, list[Item]]]:
    items, first = iter(dataset), 0
    while chunk := [*islice(items, size)]:
        yield first, chunk
        first += len(chunk)


def _size(value: Any) -> int:
    """About how many bytes a prediction, or a part of one, takes in a message."""
    if isinstance(value, Mapping) and "classes" in value:
        classes = value["classes"]
        named = sum([len(score["label"]) for score in classes])  # most of all there is, so quickly
        rest = {name: each for name, each in value.items() if name != "classes"}
        return 50 * len(classes) + named + _size(rest)
    if isinstance(value, bytes | str):
        return len(value) + 5
    if isinstance(value, Mapping):
        return sum(len(key) + 1 + _size(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return 9
