"""Assembling a timeline's spans against loading the same spans as JSON: time, and memory a span.

Each measurement is a process of its own: neither side finds what the other left in memory.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import children
from benchmarks.effort import Effort
from benchmarks.intervals import bootstrap, exactly, median_ratio
from benchmarks.report import Result, Row

BYTES_BUDGET = 200.0
SIDE = ("-m", "benchmarks.assembly_side")

Measured = dict[str, float]


async def run(effort: Effort) -> Result:
    """Rounds of both, one after the other."""
    ours: list[Measured] = []
    distinct: list[Measured] = []
    theirs: list[Measured] = []
    count = effort.assembled_spans
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        await _said("make", folder, str(count))
        for turn in range(effort.assemblies):
            ours.append(json.loads(await _said("ours", folder)))
            distinct.append(json.loads(await _said("distinct", folder)))
            theirs.append(json.loads(await _said("json", folder)))
            took = f"{ours[-1]['seconds']:.2f} and {theirs[-1]['seconds']:.2f} s"
            print(f"assembly: round {turn + 1}, {took}", file=sys.stderr, flush=True)
    rows = [
        _time(ours, theirs, count),
        _memory("memory of an assembly, a span", ours, theirs, count),
        _memory("the same where every span has tags of its own", distinct, theirs, count),
    ]
    return Result(rows, {"ours": ours, "distinct": distinct})


async def _said(what: str, folder: Path, *more: str) -> bytes:
    async with children.started(*SIDE, what, str(folder), *more) as process:
        return await children.line(process)


def _time(ours: list[Measured], theirs: list[Measured], count: int) -> Row:
    mine, others = ([each["seconds"] for each in side] for side in (ours, theirs))
    return Row(
        what="timeline assembled / the same spans by json.loads",
        ours=median(mine),
        theirs=median(others),
        unit="s",
        compared=bootstrap(median_ratio, mine, others),
        at_most=1.0,
        note=f"{len(ours)} rounds of {count:,} spans of three levels, no parent told; from the "
        "stored blocks, and from text in memory",
    )


def _memory(what: str, ours: list[Measured], theirs: list[Measured], count: int) -> Row:
    mine, others = ([max(each["bytes"], 1) / count for each in side] for side in (ours, theirs))
    return Row(
        what=what,
        ours=median(mine),
        theirs=median(others),
        unit="B",
        compared=exactly(max(mine)),
        sign="B",
        at_most=BYTES_BUDGET,
        note="by how much the process grows at most; the largest of the rounds is judged",
    )
