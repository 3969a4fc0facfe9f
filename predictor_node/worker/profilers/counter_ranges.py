"""CUPTI's counters of each kernel in a Kineto trace, joined to the launch of that kernel. Pure.

Counting runs kernels one after another, several times each: when they ran, and for how long, says
nothing, and Kineto spreads the ranges' times evenly. It writes them in the order in which the
kernels ran, without correlation ids: where there are as many as launches, the n-th is the n-th's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .gpu_trace import RUNTIME, Row, row_of

RANGE = "cuda_profiler_range"
LAUNCH = re.compile(r"^(cuda|cu|hip)\w*Launch\w*Kernel\w*$|^(cuda|cu|hip)Launch\w*$")
JOINED = "order of launches"
TIMES = "of the launch: a counted kernel runs several times"


def counter_rows(trace: Mapping[str, Any]) -> tuple[list[tuple[Row, Row | None]], str]:
    """(range, its launch), in order, and why they could not be joined.

    A range has the time and the correlation id of its launch; joined to none, those of the trace.
    """
    base_ns = int(trace.get("baseTimeNanoseconds") or 0)
    events = [e for e in trace["traceEvents"] if e.get("ph") == "X" and "ts" in e]
    counted = [e for e in events if e.get("cat") == RANGE]
    ranges = sorted(
        (row_of(e, base_ns, 0, {"counters": dict(e.get("args") or {})}) for e in counted),
        key=lambda row: row.start_ns,
    )
    launches = sorted(
        (
            row_of(e, base_ns, int(e["tid"]), {"kind": "launch"})
            for e in events
            if e.get("cat") in RUNTIME and LAUNCH.match(str(e["name"]))
        ),
        key=lambda row: row.start_ns,
    )
    devices = {e.get("pid") for e in counted}
    if not ranges:
        return [], ""
    if len(ranges) != len(launches) or len(devices) > 1:
        found = f"{len(ranges)} counter ranges of {len(devices)} devices"
        why = f"{found} could not be joined to {len(launches)} launches"
        return [(replace(row, correlation_id=0), None) for row in ranges], why
    return [
        (_as_launched(row, launch), launch) for row, launch in zip(ranges, launches, strict=True)
    ], ""


def _as_launched(row: Row, launch: Row) -> Row:
    return replace(
        row,
        start_ns=launch.start_ns,
        duration_ns=launch.duration_ns,
        correlation_id=launch.correlation_id,
        tags={**row.tags, "joined_by": JOINED, "times": TIMES},
    )
