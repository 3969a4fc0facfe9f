"""All fifteen analyses of a large evaluation: time, and memory at the peak.

The side runs in a process of its own. What is given is what a client has in hand once it has
fetched: the assembled timeline, and the facts.
"""

from __future__ import annotations

import json
import sys
from statistics import median
from typing import Any

from benchmarks import children
from benchmarks.effort import Effort
from benchmarks.intervals import exactly
from benchmarks.report import Result, Row

SECONDS_BUDGET, BYTES_BUDGET = 10.0, 2.0
SIDE = ("-m", "benchmarks.analyses_side")
KINDS = {"shared": "shared tags", "own": "other tags on each span"}

Measured = dict[str, Any]


async def run(effort: Effort) -> Result:
    """Rounds of the whole, each in a new process; with tags that spans share, and with others."""
    rows: list[Row] = []
    raw: dict[str, list[Measured]] = {}
    for tags, words in KINDS.items():
        raw[tags] = []
        for turn in range(effort.assemblies):
            async with children.started(*SIDE, str(effort.assembled_spans), tags) as process:
                raw[tags].append(json.loads(await children.line(process)))
            took = f"{raw[tags][-1]['seconds']:.2f} s"
            print(f"analyses: {words}, round {turn + 1}, {took}", file=sys.stderr, flush=True)
        rows += _rows(words, raw[tags], effort.assembled_spans)
    return Result(rows, {"rounds": raw})


def _rows(words: str, rounds: list[Measured], count: int) -> list[Row]:
    seconds = [each["seconds"] for each in rounds]
    gigabytes = [each["bytes"] / 2**30 for each in rounds]
    slowest = max(rounds, key=lambda each: each["seconds"])
    parts = [f"{name} {took:.2f} s" for name, took in slowest["each"].items() if took >= 0.05]
    return [
        Row(
            what=f"A1 to A15 of one evaluation, {words}",
            ours=median(seconds),
            theirs=SECONDS_BUDGET,
            unit="s",
            compared=exactly(max(seconds)),
            sign="s",
            at_most=SECONDS_BUDGET,
            note=f"{len(rounds)} rounds of {count:,} spans (predicts, layers, oneDNN calls); the "
            f"slowest is judged: {', '.join(parts)}",
        ),
        Row(
            what=f"memory of the process at its peak, {words}",
            ours=median(gigabytes),
            theirs=BYTES_BUDGET,
            unit="GiB",
            compared=exactly(max(gigabytes)),
            sign="GiB",
            at_most=BYTES_BUDGET,
            note="the timeline itself and its assembly included",
        ),
    ]
