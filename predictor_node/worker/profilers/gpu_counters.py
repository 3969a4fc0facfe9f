"""Counters of each kernel on an NVIDIA GPU by CUPTI's profiler ranges, in a run of their own.

The device runs every kernel as often as its counters need: such a run's times are no measurement of
the model, so that nobody gets it unasked and nothing else looks then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..frameworks.installed import has_gpu
from . import Session
from .counter_ranges import counter_rows
from .gpu_trace import Row

LEVEL = "full"
ALONE = True
frameworks = ("pytorch",)
devices = ("gpu",)
USUAL = "usual"
OPERATIONS = tuple(
    f"smsp__sass_thread_inst_executed_op_{kind}{what}_pred_on.sum"
    for kind in "hfd"
    for what in ("add", "mul", "fma")
)
"""Floating-point operations of half, single and double precision; an fma is two."""
MEMORY = ("dram__bytes_read.sum", "dram__bytes_write.sum")
OCCUPANCY = ("sm__warps_active.avg.pct_of_peak_sustained_active",)
NO_RANGES = (
    "Kineto gave no counter ranges: this build of PyTorch has no CUPTI range profiler, or the "
    "driver lets only root read counters (NVreg_RestrictProfilingToAdminUsers)"
)


def available() -> str:
    return "" if has_gpu() else "CUPTI's counters: this machine has no NVIDIA GPU"


def wanted(settings: Mapping[str, Any]) -> str:
    if settings.get("gpu_counters"):
        return ""
    return (
        "counting runs each kernel several times: ask for it with "
        f"--setting profile.gpu_counters={USUAL} (or metrics of CUPTI's, with commas)"
    )


def metrics(given: object) -> list[str]:
    """The setting `profile.gpu_counters`: the usual ones, or CUPTI's names with commas."""
    if given == USUAL:
        return [*OPERATIONS, *MEMORY, *OCCUPANCY]
    return [name.strip() for name in str(given).split(",") if name.strip()]


@contextmanager
def profile(session: Session) -> Iterator[None]:
    recorder = getattr(session.handle, "recorder", None)
    if recorder is None:
        session.unavailable("the model was not opened to be profiled")
        yield
        return
    recorder.count(metrics(session.settings["gpu_counters"]))
    before = len(recorder.results)
    yield
    recorder.stop()
    found = recorder.placed(session.starts_ns, session.durations_ns)
    told = 0
    for number, results in enumerate(recorder.results[before:]):
        path = Path(session.folder) / f"counters-{session.run.index}-{number}.json"
        results.save(str(path))
        try:
            rows, why = counter_rows(json.loads(path.read_text(errors="replace")))
        finally:
            path.unlink(missing_ok=True)
        _add(session, rows, found.shift_ns)
        told += len(rows)
        if why:
            session.unavailable(why)
    if not told:
        session.unavailable(NO_RANGES)


def _add(session: Session, rows: Sequence[tuple[Row, Row | None]], shift_ns: int) -> None:
    """Each launch as a span of the library level, and under the same layer what was counted."""
    offset = (session.run.index + 1) << 40
    for counted, launch in rows:
        for level, row in (("library", launch), ("hardware", counted)):
            if row is not None:
                at_ns, number = row.start_ns + shift_ns, row.correlation_id
                session.add_span(
                    *(level, row.name, at_ns, row.duration_ns, row.thread, row.tags),
                    correlation_id=offset + number if number else 0,
                )
