"""Advice as a person reads it: what to use and why, why not the rest, what to measure next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from analysis.advice import Choice, Option
from mlmodelscope.tables import Column, console, ms, table


@dataclass(frozen=True)
class About:
    """What the advice is about."""

    task: str
    percentile: int


SHOWN = [
    Column("model"),
    Column("framework"),
    Column("node"),
    Column("settings", optional=True),
    Column("batch", right=True),
    Column("ms", "latency_ns", ms, right=True),
    Column("inputs/s", "throughput", lambda x: "n/a" if x is None else f"{x:.1f}", right=True),
    Column("accuracy", right=True, optional=True),
    Column("cost of 1,000", "cost", lambda x: "" if x is None else f"{x:.3g}", True, True),
    Column("why", "reason"),
]
TITLES = {
    "recommended": "Recommended: nothing measured is better than these in every respect",
    "beaten": "Within the limits, and beaten",
    "outside": "Outside the limits",
    "not known": "Not enough is known",
}


def print_advice(choices: Sequence[Choice], commands: Sequence[str], about: About) -> None:
    """What to use and why, why not the rest, and what to measure."""
    out = console()
    for verdict, title in TITLES.items():
        rows = [_row(choice) for choice in choices if choice.verdict == verdict]
        if rows:
            out.print(table(rows, SHOWN, f"\n{title}"))
    if not choices:
        out.print(f"nothing of {about.task} was measured yet", markup=False)
    elif all(choice.verdict != "recommended" for choice in choices):
        out.print("nothing that was measured can be recommended", markup=False)
    if any(choice.verdict == "recommended" for choice in choices):
        out.print(f"latency: p{about.percentile} of a predict", markup=False)
        if any("cost" in choice.option.na for choice in choices):
            out.print("cost: n/a where a node has no label `price` (an hour's)", markup=False)
    if commands:
        out.print("\nMeasure next:")
        for command in commands:
            out.print(f"  {command}", markup=False, soft_wrap=True)


def _row(choice: Choice) -> dict[str, Any]:
    option = choice.option
    return {
        "model": f"{option.model} {option.version}",
        "framework": f"{option.framework} {option.framework_version}",
        "node": option.node_id,
        "settings": option.set_to,
        "batch": str(option.batch_size),
        "latency_ns": option.latency_ns,
        "throughput": option.throughput,
        "accuracy": _accuracy(option),
        "cost": option.cost,
        "reason": choice.reason,
    }


def _accuracy(option: Option) -> str:
    if option.accuracy is None:
        return ""
    return f"{option.figure} {option.accuracy:.4g} (n={option.items})"


def flat(choice: Choice) -> dict[str, Any]:
    """One line of CSV an option."""
    fields = msgspec.to_builtins(choice.option)
    return {"verdict": choice.verdict, "reason": choice.reason, **fields}
