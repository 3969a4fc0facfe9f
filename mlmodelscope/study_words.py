"""A study's rows as people read them: headings, units, and which columns are worth a place."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mlmodelscope import answer_words
from mlmodelscope.tables import Column, gib

HEADINGS = {
    "latency_ns": "p50 (ms)",
    "low_ns": "95 % from",
    "high_ns": "to (ms)",
    "ratio": "× baseline",
    "ratio_low": "× from",
    "ratio_high": "× to",
    "peak_throughput": "peak inputs/s",
    "peak_batch_size": "at batch",
    "optimal_batch_size": "batch to use",
    "online_ns": "p50 at batch 1 (ms)",
    "online_p90_ns": "p90 (ms)",
    "failed": "sizes that failed",
    "throughput": "inputs/s",
    "throughput_low": "95 % from",
    "throughput_high": "to",
    "energy_j": "energy of 1,000 (J)",
    "cost": "cost of 1,000",
    "price": "price of an hour",
    "latency_percent": "% of predict",
    "memory_bytes": "memory",
    "figure": "accuracy is",
}
SAME = ("model", "framework", "setting", "node", "batch_size", "dataset")
TRACED = ("bounds", "layers")
TRACED_HEADINGS = {"latency_ns": "time (ms)"}
"""Of traces it is the trimmed mean, as in the fifteen analyses."""


def called(name: str, field: str) -> str:
    """A field's heading in the figure of this name."""
    words: Mapping[str, str] = HEADINGS | (TRACED_HEADINGS if name in TRACED else {})
    return words.get(field, answer_words.heading(field))


def columns(name: str, rows: list[dict[str, Any]], hidden: Container[str]) -> list[Column]:
    """The columns of a figure's rows."""
    found = answer_words.columns_of(rows, hidden)
    if not any(row.get("failed") for row in rows):
        found = [one for one in found if one.field != "failed"]
    return [replace(one, heading=called(name, one.field)) for one in found]


def cells(row: dict[str, Any]) -> dict[str, str]:
    """Every value of a row as text."""
    found = answer_words.cells(row)
    if "memory_bytes" in row:
        found["memory_bytes"] = gib(row["memory_bytes"])
    if row.get("problem"):
        found["problem"] = " ".join(row["problem"].split())
    return found


def reasons(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """Why cells of a figure read n/a."""
    return answer_words.reasons(rows, partial(called, name))


def alike(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What is alike in all rows, as words: a title says it once."""
    found = {}
    for name in SAME:
        values = {row.get(name) for row in rows}
        if len(rows) > 1 and len(values) == 1 and (value := values.pop()):
            found[name] = f"batch {value}" if name == "batch_size" else str(value)
    return found


def slug(text: str, taken: Iterable[str] = ()) -> str:
    """A name that a file can have, and no other of these has."""
    plain = "".join(c if c.isalnum() and c.isascii() else "-" for c in text.casefold()).strip("-")
    made, number, used = plain or "x", 2, set(taken)
    while made in used:
        made, number = f"{plain}-{number}", number + 1
    return made
