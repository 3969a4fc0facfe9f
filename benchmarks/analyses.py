"""All fifteen analyses of a large evaluation: time, and memory at the peak.

The side runs in a process of its own. What is given is what a client has in hand once it has
fetched: the assembled timeline, and the facts.
"""

from __future__ import annotations

import json
import sys
from statistics import median

from benchmarks import children
from benchmarks.effort import Effort
from benchmarks.intervals import exactly
from benchmarks.report import Result, Row

SECONDS_BUDGET, BYTES_BUDGET = 10.0, 2.0
SIDE = ("-m", "benchmarks.analyses_side")


async def run(effort: Effort) -> Result:
    """Rounds of the whole, each in a new process."""
    count, rounds = effort.assembled_spans, []
    for turn in range(effort.assemblies):
        async with children.started(*SIDE, str(count)) as process:
            rounds.append(json.loads(await children.line(process)))
        took = f"{rounds[-1]['seconds']:.2f} s"
        print(f"analyses: round {turn + 1}, {took}", file=sys.stderr, flush=True)
    slowest = max(rounds, key=lambda each: each["seconds"])
    seconds = [each["seconds"] for each in rounds]
    gigabytes = [each["bytes"] / 2**30 for each in rounds]
    per_analysis = ", ".join(
        f"{name} {took:.2f} s" for name, took in slowest["each"].items() if took >= 0.05
    )
    rows = [
        Row(
            what="A1 to A15 of one evaluation",
            ours=median(seconds),
            theirs=SECONDS_BUDGET,
            unit="s",
            compared=exactly(max(seconds)),
            sign="s",
            at_most=SECONDS_BUDGET,
            note=f"{len(rounds)} rounds of {count:,} spans (predicts, layers, oneDNN calls); the "
            f"slowest is judged: {per_analysis}",
        ),
        Row(
            what="memory of the process at its peak",
            ours=median(gigabytes),
            theirs=BYTES_BUDGET,
            unit="GiB",
            compared=exactly(max(gigabytes)),
            sign="GiB",
            at_most=BYTES_BUDGET,
            note="the timeline itself included",
        ),
    ]
    return Result(rows, {"rounds": rounds})
