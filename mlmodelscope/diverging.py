"""The command divergence: how far apart two stored evaluations' outputs lie."""

from __future__ import annotations

import sys

import msgspec
from rich.markup import escape

from analysis.divergence import MEASURES, Divergence, divergence
from analysis.layer_divergence import LayerDivergence, layer_divergence
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


async def diverge_inside(
    client: Client, names: tuple[str, str], threshold: float, output: str
) -> int:
    """Print which layer is the first whose output differs, and how far apart each one's lie."""
    async with client:
        _, facts_a, _ = await client.stored(names[0])
        _, facts_b, _ = await client.stored(names[1])
    found = layer_divergence(facts_a, facts_b, threshold)
    if output == "json":
        print_json(msgspec.to_builtins(found))
    elif output == "csv":
        print_csv([msgspec.to_builtins(row) for row in found.rows])
    else:
        _print_inside(found)
    sys.stdout.flush()
    return 0


INSIDE = [
    Column("place"),
    Column("shape", show=lambda shape: "×".join(map(str, shape))),
    Column("largest difference", "difference", lambda x: _number(x), right=True),
    Column("of A's largest", "relative", lambda x: _number(x), right=True),
    Column("", "note"),
]
SHOWN = 12


def _print_inside(found: LayerDivergence) -> None:
    out = console()
    most = sorted(found.rows, key=lambda row: -(row.relative or 0.0))[:SHOWN]
    first = [row for row in found.rows if row.place == found.first]
    rows = [row for row in found.rows if row in most or row in first]
    title = f"\nLayers for {found.input}, the {len(rows)} of {found.places} that differ most"
    out.print(table([msgspec.to_builtins(row) for row in rows], INSIDE, title))
    if found.first:
        out.print(
            f"[bold]the first that differs: {escape(found.first)}[/] (threshold "
            f"{found.threshold:g} of the layer's largest number)"
        )
    else:
        out.print(f"no layer differs by more than {found.threshold:g} of its largest number")
    alone = f"{len(found.only_a)} places are in A alone, {len(found.only_b)} in B alone"
    out.print(f"{found.places} places are in both; {alone}")


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
