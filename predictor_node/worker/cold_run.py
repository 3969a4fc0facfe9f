"""One sample of a cold start: everything between the beginning of a job and its first answer."""

from __future__ import annotations

from .errors import Cancelled
from .fed import Fed
from .job import Run
from .models import prediction_failed
from .runner import JobRun
from .scenario import COLD
from .trace import Times, now_ns

PARTS = ("prepare", "open", "first predict")


class ColdRun(JobRun):
    """A job in a process that has done nothing yet; its node knows what the process itself took.

    prepare: the first inputs, from files to tensors; open: the model, once its framework is there.
    """

    def run(self) -> None:
        (run,) = self.job.runs
        began_ns = now_ns()
        self._begin(run)
        self._prepare_first(run)
        prepared_ns = now_ns()
        with self.models.opened(self.job, profile=False) as model:
            bound = self.feeding.bind(model, self.items[0])
            (batch, *_) = bound.batches(self.items, run.batch_size, 1)
            opened_ns = now_ns()
            try:
                model.plugin.predict(model.handle, batch)
            except Exception as error:
                raise prediction_failed(self.job, error, batch) from error
            end_ns = now_ns()
            took = (prepared_ns - began_ns, opened_ns - prepared_ns, end_ns - opened_ns)
            # First of all: the node's clock for the whole runs until this is heard.
            self._say_sample(run, opened_ns, dict(zip(PARTS, took, strict=True)))
            self._say_opened(run, model)
        times = Times(1)
        times.starts_ns[0], times.durations_ns[0] = opened_ns, took[-1]
        self._add_predicts(run, times, self.job.parent_span)
        self._finish()

    def _prepare_first(self, run: Run) -> None:
        """As many items as one batch takes."""
        rows = 0
        for item in self.job.items:
            if self.cancelled.is_set():
                raise Cancelled
            made: Fed = self.feeding.tensors(item, self.feeding.open(item))
            self.items.append(made)
            rows += made.rows
            if rows >= run.batch_size:
                return

    def _say_sample(self, run: Run, start_ns: int, parts: dict[str, int]) -> None:
        self.say(
            {
                "said": "measured",
                "run": run.index,
                "batch_size": run.batch_size,
                "level": run.level,
                "scenario": COLD,
                "start_ns": self.trace.clock.epoch_ns(start_ns),
                "first_query": 0,
                "starts_ns": [0],
                "durations_ns": [parts["first predict"]],
                "last": True,
                "parts_ns": {name: [took_ns] for name, took_ns in parts.items()},
            }
        )
