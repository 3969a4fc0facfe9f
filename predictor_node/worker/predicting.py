"""Items through an open model, each row once: in batches, or window after window with a state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .fed import Fed
from .feeding import Bound, split_rows, with_states
from .job import Target
from .measure import Batch
from .models import Opened, prediction_failed
from .trace import Times, now_ns

Rows = list[list[np.ndarray]]
"""For each row of an item its outputs, in the model's order."""


@dataclass(slots=True)
class Said:
    """What a model said of some items, and when it was asked."""

    items: list[tuple[Fed, Rows]] = field(default_factory=list)
    starts_ns: list[int] = field(default_factory=list)
    durations_ns: list[int] = field(default_factory=list)

    @property
    def duration_ns(self) -> int:
        return sum(self.durations_ns)


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks an open model; `check` is called before each call and may raise."""

    target: Target
    model: Opened
    bound: Bound
    check: Callable[[], None] = lambda: None

    def ask(self, items: Sequence[Fed], size: int) -> Said:
        """Every row of the items, `size` rows a call."""
        said = Said()
        if self.bound.stateful:
            said.items = [(item, self._one_by_one(item, said)) for item in items]
            return said
        found: dict[int, Rows] = {id(item): [] for item in items}
        for rows, count in self.bound.passes(items, size):
            outputs = self.call(self.bound.batch(rows), said)
            answers = split_rows(outputs, count, len(rows))
            for (item, _), answer in zip(rows, answers, strict=False):
                found[id(item)].append(answer)
        said.items = [(item, found[id(item)]) for item in items]
        return said

    def _one_by_one(self, item: Fed, said: Said) -> Rows:
        """Each window goes on where the one before it ended."""
        states: dict[str, np.ndarray] = {}
        rows: Rows = []
        for row in range(item.rows):
            batch = with_states(self.bound.batch([(item, row)]), states)
            outputs = self.call(batch, said)
            states = self.bound.next_states(outputs)
            rows += split_rows(outputs, 1, 1)
        return rows

    def call(self, batch: Batch, said: Said | Times) -> list[np.ndarray]:
        """One predict call, between two readings of the clock."""
        self.check()
        predict, handle = self.model.plugin.predict, self.model.handle
        start_ns = now_ns()
        try:
            outputs = predict(handle, batch)
        except Exception as error:
            raise prediction_failed(self.target, error, batch) from error
        end_ns = now_ns()
        said.starts_ns.append(start_ns)
        said.durations_ns.append(end_ns - start_ns)
        answered: list[np.ndarray] = outputs
        return answered
