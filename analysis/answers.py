"""Answer: the rows of one analysis, what they lack, and what they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from analysis.roofline import Roof

FIRST = (
    *("analysis", "model", "framework", "setting", "node"),
    *("batch_size", "layer", "layer_name", "index", "name", "operator", "place"),
    *("of", "count", "shape"),
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The base of every row. analysis: A1 …; na: for each field that is None, the reason."""

    analysis: str
    na: Mapping[str, str] = {}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one analysis says. notes: what a reader must know of all rows.

    unavailable: why there are no rows at all; empty where there are some. roofs: the limits of the
    machine by which rows are judged.
    """

    analysis: str
    name: str
    title: str
    rows: Sequence[Row]
    notes: list[str] = []
    unavailable: str = ""
    roofs: list[Roof] = []

    def table(self) -> list[dict[str, Any]]:
        """The rows as maps: what a row is about first, then its numbers, its reasons last."""
        if not self.rows:
            return []
        fields = self.rows[0].__struct_fields__
        ordered = [name for name in FIRST if name in fields]
        ordered += [name for name in fields if name not in (*FIRST, "na")]
        made = [msgspec.to_builtins(row) for row in self.rows]
        return [{name: row[name] for name in (*ordered, "na")} for row in made]


def total(values: Sequence[float | None]) -> float | None:
    """The sum; None where one of them is not known: a part would look like the whole."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def lacking(values: Sequence[float | None], whys: Sequence[str], what: str) -> str:
    """Why a sum is not known: how many of its parts are not, and the first one's reason."""
    missing = sum(1 for value in values if value is None)
    why = next((why for value, why in zip(values, whys, strict=True) if value is None), "")
    if missing == len(values):
        return why or f"no {what} is known"
    return f"{missing} of {len(values)} parts have none ({why})"


def percent(part: float, whole: float | None) -> float | None:
    """A share with two digits, as XSP has them."""
    return round(100.0 * part / whole, 2) if whole else None
