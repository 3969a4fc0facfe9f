"""Rows of results: judged against their budgets, shown as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.intervals import Interval

WIDTH = 130
"""Columns of text where the output is no terminal."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison. sign: × for a ratio of ours to theirs, or the unit of a difference.

    at_most, at_least: the budget; a row without one only tells. same: theirs against theirs.
    """

    what: str
    ours: float
    theirs: float
    unit: str
    compared: Interval
    sign: str = "×"
    at_most: float | None = None
    at_least: float | None = None
    same: Interval | None = None
    judged: bool = True
    note: str = ""

    @property
    def held(self) -> str:
        """yes or no where the whole interval says so, else undecided; empty without a budget."""
        if not self.judged:
            return ""
        if self.at_most is not None:
            return _judged(self.compared.high <= self.at_most, self.compared.low > self.at_most)
        if self.at_least is not None:
            return _judged(self.compared.low >= self.at_least, self.compared.high < self.at_least)
        return ""

    @property
    def budget(self) -> str:
        """The budget in words."""
        if self.at_most is not None:
            return f"≤ {self.at_most:.4g} {self.sign}"
        return f"≥ {self.at_least:.4g} {self.sign}" if self.at_least is not None else ""


@dataclass(frozen=True)
class Result:
    """What a benchmark found; raw: what was measured, as it was measured."""

    rows: list[Row]
    raw: dict[str, Any] = field(default_factory=dict)


def unjudged(results: Mapping[str, Result]) -> dict[str, Result]:
    """The same, of a run that is too short to say whether a budget is held."""
    return {
        name: Result([replace(row, judged=False) for row in result.rows], result.raw)
        for name, result in results.items()
    }


def show_table(results: Mapping[str, Result], environment: Mapping[str, str]) -> None:
    """For people: where it was measured, one line a comparison, and what must be said of it."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    for name, text in environment.items():
        console.print(f"{name:<12} {text}", markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("what", "ours", "theirs", "compared (95 %)", "A/A", "budget", "held?"):
        left = heading in ("what", "budget", "held?")
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    for row in _rows(results):
        compared = f"{_span(row.compared)} {row.sign}"
        same = f"{_span(row.same)} {row.sign}" if row.same else ""
        numbers = (_with_unit(row.ours, row.unit), _with_unit(row.theirs, row.unit))
        table.add_row(row.what, *numbers, compared, same, row.budget, row.held)
    console.print(table)
    for row in _rows(results):
        if row.note:
            console.print(f"{row.what}: {row.note}", markup=False)


def show_json(results: Mapping[str, Result], environment: Mapping[str, str]) -> None:
    """For programs: the same, with everything that was measured."""
    found = {
        name: {
            "rows": [
                {**asdict(row), "budget": row.budget, "held": row.held} for row in result.rows
            ],
            "raw": result.raw,
        }
        for name, result in results.items()
    }
    print(json.dumps({"environment": dict(environment), "results": found}, ensure_ascii=False))


def _rows(results: Mapping[str, Result]) -> Sequence[Row]:
    return [row for result in results.values() for row in result.rows]


def _judged(is_held: bool, is_broken: bool) -> str:
    return "yes" if is_held else "no" if is_broken else "undecided"


def _span(interval: Interval) -> str:
    value = _number(interval.value)
    if interval.low == interval.high:
        return value
    return f"{value} ({_number(interval.low)}–{_number(interval.high)})"


def _with_unit(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}"


def _number(value: float) -> str:
    """Four digits behind the point where ratios are near 1, none where numbers are large."""
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"
