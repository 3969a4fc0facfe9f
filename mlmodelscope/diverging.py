"""The command divergence: how far apart two stored evaluations' outputs lie."""

from __future__ import annotations

import sys

import msgspec
from rich.markup import escape

from analysis.divergence import MEASURES, Divergence, divergence
from mlmodelscope.client import Client
from mlmodelscope.tables import Column, console, print_csv, print_json, table

TITLES = {
    "kullback_leibler": "Kullback-Leibler A‖B (nats)",
    "jensen_shannon": "Jensen-Shannon (nats)",
    "hellinger": "Hellinger distance",
    "bhattacharyya": "Bhattacharyya distance",
    "covariance": "covariance",
    "correlation": "correlation",
    "max_difference": "largest difference",
}
COLUMNS = [
    Column("measure"),
    Column("median of inputs", "median", right=True),
    Column("worst input", "worst", right=True),
]


async def diverge(client: Client, one: str, two: str, output: str) -> int:
    """Print the measures of B's outputs against A's."""
    async with client:
        _, facts_a, _ = await client.stored(one)
        _, facts_b, _ = await client.stored(two)
    found = divergence(facts_a, facts_b)
    if output == "json":
        print_json(msgspec.to_builtins(found))
    elif output == "csv":
        print_csv([msgspec.to_builtins(row) for row in found.rows])
    else:
        _print(found)
    sys.stdout.flush()
    return 0


def _print(found: Divergence) -> None:
    out = console()
    rows = [
        {
            "measure": TITLES[m],
            "median": _number(found.median.get(m)),
            "worst": _number(found.worst.get(m)),
        }
        for m in MEASURES
    ]
    out.print(table(rows, COLUMNS, f"\nB's outputs against A's, {found.inputs} inputs"))
    out.print(f"they answer otherwise for {found.differing} of {found.inputs} inputs")
    if found.worst.get("max_difference"):
        out.print(f"farthest apart: {escape(found.farthest)}")
    else:
        out.print("every number is the same")
    for note in dict.fromkeys(row.note for row in found.rows if row.note):
        out.print(note)


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4g}"
