"""A pass over a dataset in which the next batches are prepared while one is predicted."""

from __future__ import annotations

from functools import partial

from .ahead import Ahead
from .dataset_run import DatasetRun, Pass, parts_of
from .trace import APPLICATION


class PipelinedRun(DatasetRun):
    """As DatasetRun, with reading, decoding and preprocessing on a thread of their own."""

    def _walk(self, part: Pass, at_once: int, run_span: int) -> None:
        prepare = partial(self._prepared, part)
        with Ahead(prepare, parts_of(part.dataset.numbers, part.size)) as batches:
            for ready in batches:
                tags = {"first": part.times.done, "items": len(ready.made)}
                self.trace.add(
                    APPLICATION,
                    "prepare",
                    ready.start_ns,
                    ready.duration_ns,
                    tags,
                    parent_id=run_span,
                    thread=ready.thread,
                )
                self._predicted(part, ready.made)
