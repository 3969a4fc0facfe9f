"""A GPU's part of a Kineto trace as spans: what the CPU launched, and what the GPU did of it.

Launch and execution are apart, and joined by their correlation id: the collector hangs a kernel
where its launch hangs, however late it runs. Reads the Chrome trace that Kineto itself writes; its
fields are the same for CUDA and ROCm.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import Session

RUNTIME = ("cuda_runtime", "cuda_driver", "hip_runtime")
EXECUTED = {"kernel": "kernel", "gpu_memcpy": "memcpy", "gpu_memset": "memset"}
LAUNCHES, ALL = "launches", "all"
TAGS = {
    "device": "device",
    "stream": "stream",
    "grid": "grid",
    "block": "block",
    "registers per thread": "registers_per_thread",
    "shared memory": "shared_memory_bytes",
    "warps per SM": "warps_per_sm",
    "est. achieved occupancy %": "estimated_occupancy_percent",
    "bytes": "bytes",
    "memory bandwidth (GB/s)": "bandwidth_gb_per_s",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A call of the runtime (thread: its own), or work on a device (thread 0); Kineto's clock."""

    name: str
    start_ns: int
    duration_ns: int
    thread: int
    correlation_id: int
    tags: dict[str, Any] = field(default_factory=dict)


def read_kept(given: object) -> Collection[str]:
    """The setting `profile.cuda_runtime`: launches, all, or functions' names with commas."""
    return [name.strip() for name in str(given or LAUNCHES).split(",") if name.strip()]


def gpu_rows(trace: Mapping[str, Any], kept: Collection[str]) -> list[Row]:
    """All that a device did, and the runtime's calls that are wanted, by their begin.

    The launch of something that a device did is always kept: without it nobody knows its layer.
    """
    base_ns = int(trace.get("baseTimeNanoseconds") or 0)
    events = [e for e in trace["traceEvents"] if e.get("ph") == "X" and "ts" in e]
    executed = [e for e in events if e.get("cat") in EXECUTED]
    launched = {_correlation(e) for e in executed}
    runtime = [
        e
        for e in events
        if e.get("cat") in RUNTIME
        and (ALL in kept or e["name"] in kept or _correlation(e) in launched)
    ]
    rows = [row_of(e, base_ns, int(e["tid"]), {"kind": "launch"}) for e in runtime]
    for event in executed:
        given = event.get("args") or {}
        tags = {ours: given[theirs] for theirs, ours in TAGS.items() if theirs in given}
        rows.append(row_of(event, base_ns, 0, {"kind": EXECUTED[event["cat"]], **tags}))
    return sorted(rows, key=lambda row: row.start_ns)


def add_gpu_spans(session: Session, recorder: Any) -> None:
    """The device's work of the measured calls, and what launched it."""
    kept = read_kept(session.settings.get("cuda_runtime"))
    recorder.stop()
    found = recorder.placed(session.starts_ns, session.durations_ns)
    if not found.seen:
        session.unavailable("no measured call is in Kineto's record")
        return
    shift_ns = found.shift_ns
    first_ns = int(session.starts_ns[0])
    last_ns = int((session.starts_ns + session.durations_ns)[found.seen - 1])
    told = 0
    for number, results in enumerate(recorder.results):
        path = Path(session.folder) / f"kineto-{session.run.index}-{number}.json"
        results.save(str(path))
        try:
            trace = json.loads(path.read_text(errors="replace"))
        finally:
            path.unlink(missing_ok=True)
        told += _add(session, gpu_rows(trace, kept), shift_ns, (first_ns, last_ns))
    if not told:
        session.unavailable("Kineto noted nothing on a GPU: CUPTI may not be allowed here")


def _add(session: Session, rows: list[Row], shift_ns: int, window: tuple[int, int]) -> int:
    """What was launched in the window; correlation ids are made different for each run."""
    inside = {
        row.correlation_id
        for row in rows
        if row.thread and window[0] <= row.start_ns + shift_ns <= window[1]
    }
    offset, told = (session.run.index + 1) << 40, 0
    for row in rows:
        if row.correlation_id in inside:
            at_ns, number = row.start_ns + shift_ns, row.correlation_id
            session.add_span(
                *("library", row.name, at_ns, row.duration_ns, row.thread, row.tags),
                correlation_id=offset + number if number else 0,
            )
            told += not row.thread
    return told


def row_of(event: Mapping[str, Any], base_ns: int, thread: int, tags: dict[str, Any]) -> Row:
    """A complete event of the trace."""
    took_ns = round(float(event.get("dur", 0)) * 1000)
    start_ns = _time_ns(event, base_ns)
    return Row(event["name"], start_ns, took_ns, thread, _correlation(event), tags)


def _time_ns(event: Mapping[str, Any], base_ns: int) -> int:
    """Microseconds with a fraction, too long for a float: whole and fraction apart."""
    whole, _, part = str(event["ts"]).partition(".")
    return base_ns + int(whole) * 1000 + int((part + "000")[:3] or 0)


def _correlation(event: Mapping[str, Any]) -> int:
    return int((event.get("args") or {}).get("correlation") or 0)
