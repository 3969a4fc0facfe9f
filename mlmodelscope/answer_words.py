"""Answers in words: headings, cells, and why some of them read n/a."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from mlmodelscope.tables import Column, shortened

NAME_LENGTH = 44
UNTOLD = {"na", "analysis"}
HIDDEN = UNTOLD | {"allocated_by", "bound_by", "of", "place", "run", "level", "throughput_low"}
HIDDEN |= {"throughput_high", "until_ns", "p50_ns", "source"}
"""What a table in a terminal leaves to the files."""


def reasons(
    rows: Sequence[dict[str, Any]], called: Callable[[str], str] | None = None
) -> list[str]:
    """Why cells read n/a: each reason once, with the columns and how many rows it holds for.

    called: how a field is called, where it is not its heading.
    """
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        for name, why in row["na"].items():
            if name in row and row[name] is None:
                columns = found.setdefault(why, {})
                columns[name] = columns.get(name, 0) + 1
    lines = []
    for why, columns in found.items():
        count = max(columns.values())
        rows_in_words = "" if count == len(rows) else f" in {count} of {len(rows)} rows"
        names = ", ".join(dict.fromkeys(map(called or heading, columns)))
        lines.append(f"n/a: {names}{rows_in_words}: {why}")
    return lines


def heading(name: str) -> str:
    """A field's name as people write it, with its unit."""
    words = name.removesuffix("_ns") if name.endswith("_ns") else name
    words = words.replace("_percent", " %").replace("_", " ")
    if name.endswith("_ns"):
        return f"{words} (ms)"
    return {"gflops": "GFLOP/s", "attainable gflops": "attainable GFLOP/s", "macs": "MACs"}.get(
        words, {"flops": "FLOPs", "intensity": "FLOP/B"}.get(words, words)
    )


def columns_of(rows: Sequence[dict[str, Any]], hidden: Container[str] = HIDDEN) -> list[Column]:
    """The columns worth showing: a name makes its number needless, and empty ones say nothing."""
    found = []
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        if name in hidden or all(value in ("", []) for value in values):
            continue
        is_text = any(isinstance(value, str | list) for value in values)
        found.append(Column(heading(name), name, right=not is_text))
    return found


def cells(row: dict[str, Any]) -> dict[str, str]:
    """Every value of a row as text."""
    return {name: _text(name, value) for name, value in row.items() if name != "na"}


def _text(name: str, value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else ""
    if name in ("layer", "index", "batch_size", "count", "queries", "place", "lacking"):
        return str(value) if value != -1 else ""
    if isinstance(value, list):
        return "x".join(map(str, value))
    if isinstance(value, str):
        return shortened(value, NAME_LENGTH)
    if name.endswith("_ns"):
        return number(value / 1e6)
    return counted(value) if name in COUNTED else number(value)


COUNTED = {"flops", "macs", "bytes", "read_bytes", "write_bytes", "allocated_bytes"}


def counted(value: float) -> str:
    """A large count in thousands, millions, thousands of millions."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def number(value: float) -> str:
    """Four digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
