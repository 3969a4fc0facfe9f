"""A dataset whose items are arrays: fed, asked and read many at once, equal to item by item.

Only the model's own calls are made call by call; what is made of its answers leaves in columns, of
which the node makes predictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .datasets.matching import Matching
from .datasets.stack import Stack
from .feeding import Bound
from .outputs import classification
from .outputs.reading import Reading, pick
from .predicting import Asker
from .trace import Times

STACK_ITEMS = 256
STACK_BYTES = 8 << 20
"""How much is prepared at once: a batch, or several within these limits."""
SCORE_BYTES = 50
"""About what a class takes in a message beside its label."""


@dataclass(frozen=True, slots=True)
class FedStack:
    """Items as a model takes them: one tensor [items, *shape] a fed input."""

    stack: Stack
    tensors: tuple[np.ndarray, ...]
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.stack.names)


def may_stack(bound: Bound) -> bool:
    """Whether what this model says can be read in columns: one output's classes, equally many."""
    (output, *more) = bound.outputs
    threshold = (output.get("parameters") or {}).get("threshold")
    plain = output.get("type") == "classification" and not more and not threshold
    return plain and not bound.code and not bound.stateful


def stack_items(size: int, tensors: Sequence[np.ndarray]) -> int:
    """How many items are prepared at once, as whole batches; `tensors`: those of one item."""
    item_bytes = sum(tensor.nbytes for tensor in tensors)
    fitting = min(STACK_ITEMS, STACK_BYTES // max(1, item_bytes))
    return size * max(1, fitting // size)


def ask(asker: Asker, fed: FedStack, size: int, times: Times) -> np.ndarray:
    """The scores of all items, `size` a call.

    A last call that is not full is filled up from its own items where the graph fixes the size.
    """
    bound, scores = asker.bound, []
    (output,) = bound.outputs
    places = {name: place for place, name in enumerate(bound.output_names)}
    place = pick(places, output, "probabilities_layer")
    for first in range(0, len(fed), size):
        parts = [tensor[first : first + size] for tensor in fed.tensors]
        rows = asked = len(parts[0])
        if rows < size and bound.fixed_batch:
            parts, asked = [part[np.arange(size) % rows] for part in parts], size
        batch = dict(zip(bound.names, parts, strict=True))
        for filled in bound.filled:
            batch[filled.name] = filled.fill(asked)
        found = np.asarray(asker.call(batch, times)[place])
        if not found.ndim or len(found) != asked:  # not of the batch: it is each item's
            found = np.broadcast_to(found, (asked, *found.shape))
        scores.append(found[:rows])
        times.done += rows
    return np.concatenate(scores)


@dataclass(frozen=True, slots=True)
class Columns:
    """What a model says of a stack: item n's best classes are order[n], values[n]."""

    names: Sequence[str]
    truths: Sequence[Mapping[str, Any] | None]
    order: np.ndarray
    values: np.ndarray
    labels: Mapping[int, str]

    def parts(self, items: int, size_bytes: int) -> Iterator[dict[str, Any]]:
        """For `predictions` frames: at most so many items, so many bytes as a message, in each."""
        longest = max(map(len, self.labels.values()), default=0)
        item_bytes = self.order.shape[1] * (SCORE_BYTES + longest)
        step = max(1, min(items, size_bytes // item_bytes))
        for first in range(0, len(self.names), step):
            part = slice(first, first + step)
            yield {
                "inputs": list(self.names[part]),
                "truths": list(self.truths[part]),
                "indices": self.order[part].astype("<i4").tobytes(),
                "probabilities": self.values[part].astype("<f8").tobytes(),
                "labels": [*self.labels.items()],
            }


def read(
    bound: Bound, fed: FedStack, scores: np.ndarray, top_k: int, matching: Matching
) -> Columns:
    """The best classes of every item, beside what is true of it."""
    (output,) = bound.outputs
    found = classification.probabilities(scores, output, Reading(bound.labels))
    order = classification.best(found, top_k)
    stack = fed.stack
    return Columns(
        names=stack.names,
        truths=[matching.truth(*told) for told in zip(stack.names, stack.truths, strict=True)],
        order=order,
        values=np.take_along_axis(found, order, axis=1),
        labels={i: bound.labels[i] for i in np.unique(order).tolist()} if bound.labels else {},
    )
