"""Which items of a dataset count, and in which order: a rule that any language can follow.

Items are numbered from 0 as they lie. With a seed, they are put in the order of the SHA-256 of
the text `seed:number` (both in decimal, as ASCII); without one (0) they stay as they lie. Of that
order, `skip` are passed over and the next `count` (0: all others) taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import WorkerError


@dataclass(frozen=True, slots=True)
class Selection:
    """The manifest's `select`."""

    seed: int = 0
    skip: int = 0
    count: int = 0


def read_selection(given: Mapping[str, Any]) -> Selection:
    """A manifest's `select`, checked."""
    selection = Selection(**given)
    for name in ("seed", "skip", "count"):
        value = getattr(selection, name)
        if type(value) is not int or value < 0:
            raise WorkerError("request", f"select.{name} is {value!r}; a number from 0 is expected")
    return selection


def selected(total: int, selection: Selection, limit: int = 0) -> Sequence[int]:
    """The numbers of the items that count, in their order; of those the first `limit` (0: all)."""
    numbers: Sequence[int] = range(total)
    if selection.seed:
        numbers = sorted(numbers, key=lambda number: _place(selection.seed, number))
    end = selection.skip + selection.count if selection.count else total
    if selection.skip >= total or end > total:
        text = f"the dataset selects items {selection.skip} to {end}, and there are {total} in all"
        raise WorkerError("request", f"{text}; correct select, or the files")
    numbers = numbers[selection.skip : end]
    return numbers[:limit] if limit else numbers


def _place(seed: int, number: int) -> bytes:
    return hashlib.sha256(f"{seed}:{number}".encode()).digest()
