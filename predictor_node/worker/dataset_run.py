"""One pass over a dataset: each item once, in order, measured and told beside what is true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from .datasets import Dataset, open_dataset
from .datasets.matching import Matching
from .feeding import Bound, Fed, of_one_shape
from .job import Item, Run
from .measure import progress, quiet_collector
from .models import Opened
from .predicting import Asker
from .prediction_frames import Frame
from .runner import JobRun
from .stacked import FedStack, ask, may_stack, read, stack_items
from .trace import FRAMEWORK, LEVELS, MODEL, Times


@dataclass(frozen=True, slots=True)
class Pass:
    """One run over the dataset: who is asked, what of, and where it is kept."""

    run: Run
    asker: Asker
    dataset: Dataset
    matching: Matching
    times: Times
    frame: Frame

    @property
    def bound(self) -> Bound:
        return self.asker.bound

    @property
    def size(self) -> int:
        return self.run.batch_size


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
        times, frame, size = Times(0), Frame(self.say, run.index), run.batch_size
        example = self._fed([next(iter(dataset))], Matching())[0]
        bound, matching = self._bound(model, dataset, example)
        asker = Asker(self.job, model, bound, self._check)
        self._warm_up(run, asker, dataset)
        part = Pass(run, asker, dataset, matching, times, frame)
        stacks = example.rows == 1 and may_stack(bound)
        at_once = stack_items(size, example.tensors) if stacks else 0
        tags = {"run": run.index, "batch_size": size, "level": run.level, "items": len(dataset)}
        with (
            self.trace.span("run", **tags) as run_span,
            progress(self.say, run.index, "measure", len(dataset), times),
            quiet_collector(generation=0),
        ):
            self._walk(part, at_once, run_span)
        frame.send()
        self._say_measured(run, times)
        self._add_predicts(run, times, run_span)
        self.trace.flush()

    def _walk(self, part: Pass, at_once: int, run_span: int) -> None:
        """Every item once, in order. at_once: so many as one stack; 0: each by itself."""
        for numbers in parts_of(part.dataset.numbers, at_once or part.size):
            if not at_once or not self._at_once(part, numbers):
                for batch in parts_of(numbers, part.size):
                    self._one_by_one(part, batch)

    def _at_once(self, part: Pass, numbers: Sequence[int]) -> bool:
        """These items as one stack; False, and nothing done, where they must go one by one."""
        self._check()
        with self.trace.span("prepare", first=part.times.done, items=len(numbers)):
            stack = part.dataset.stack(numbers)
            made = self.feeding.stacked(stack.arrays) if stack is not None else None
        if stack is None or made is None:
            return False
        fed = FedStack(stack, *made)
        scores = ask(part.asker, fed, part.size, part.times)
        with self.trace.span("postprocess", first=part.times.done, items=len(numbers)):
            top_k = scores[0].size if self.job.full_outputs else self.job.top_k
            part.frame.add_columns(read(part.bound, fed, scores, top_k, part.matching))
        return True

    def _one_by_one(self, part: Pass, numbers: Sequence[int]) -> None:
        """One batch of items, each prepared and read by itself."""
        with self.trace.span("prepare", first=part.times.done, items=len(numbers)):
            fed = self._prepared(part, numbers)
        self._predicted(part, fed)

    def _prepared(self, part: Pass, numbers: Sequence[int]) -> list[Fed]:
        items = [part.dataset.reader.item(number) for number in numbers]
        return self._fed(items, part.matching)

    def _predicted(self, part: Pass, fed: Sequence[Fed]) -> None:
        """Predict one batch, and keep what was said."""
        times, bound, first = part.times, part.bound, part.times.done
        rows = sum(item.rows for item in fed)
        said = part.asker.ask(fed, part.size if bound.fixed_batch else min(part.size, rows))
        times.starts_ns.extend(said.starts_ns)
        times.durations_ns.extend(said.durations_ns)
        with self.trace.span("postprocess", first=first, items=len(fed)):
            for item, answers in said.items:
                made = bound.say(item, answers, self.job.top_k, self.job.full_outputs)
                part.frame.add(made)
        times.done += len(fed)

    def _bound(self, model: Opened, dataset: Dataset, example: Fed) -> tuple[Bound, Matching]:
        """The model's names beside the dataset's; a model that names no class takes the other's."""
        bound = self.feeding.bind(model, example)
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


def parts_of(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]
