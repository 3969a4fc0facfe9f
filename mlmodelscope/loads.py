"""The load that a person's options mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from bus.errors import InputError
from bus.messages import Scenario, ScenarioName
from mlmodelscope.cli_load import Load

NS = 1_000_000_000
NAMES: dict[str, ScenarioName] = {
    "online": "online",
    "single-stream": "single_stream",
    "multi-stream": "multi_stream",
    "server": "server",
    "offline": "offline",
    "burst": "burst",
    "replay": "replay",
    "cold-start": "cold_start",
}


def scenario_of(load: Load) -> Scenario | None:
    """None where nothing was asked for: then a run has just --runs queries."""
    if load == Load(mlperf_logs=load.mlperf_logs):
        if load.mlperf_logs is not None:
            raise InputError(
                "--mlperf-logs: expected with --scenario single-stream, multi-stream, server or "
                "offline"
            )
        return None
    name = load.scenario or ("replay" if load.replay else "server" if load.find else "online")
    if (name == "replay") != (load.replay is not None):
        raise InputError("--replay FILE and --scenario replay: expected both, or neither")
    return Scenario(
        name=NAMES[name],
        target_qps=load.target_qps,
        min_duration_s=load.min_duration,
        min_queries=load.min_queries,
        max_duration_s=load.max_duration,
        max_queries=load.max_queries,
        samples_per_query=load.samples_per_query,
        latency_bound_ms=load.latency_bound,
        percentile=round(load.percentile / 100, 9),
        until_ci=_part(load.until_ci),
        replay_ns=read_offsets(load.replay) if load.replay else [],
        burst_size=load.burst_size,
        issue_threads=load.issue_threads,
        find=(load.find or "").replace("-", "_"),  # type: ignore[arg-type]
        accuracy=load.each_once,
    )


def _part(text: str) -> float:
    """`2%` or `0.02`, both 0.02."""
    if not text:
        return 0.0
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise InputError(f"--until-ci {text!r}: expected a share like 2% or 0.02")
    return value


def read_offsets(path: Path) -> list[int]:
    """Offsets in seconds, one a line, as ns from the first; empty lines and # lines are notes."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"--replay {path}: {exc}; expected a text file of offsets") from exc
    return offsets_in(lines, str(path))


def offsets_in(lines: Sequence[str], where: str) -> list[int]:
    """Offsets in seconds, one a line, as ns from the first; where: the name of the text."""
    found: list[int] = []
    for number, line in enumerate(lines, 1):
        if not (text := line.split("#")[0].strip()):
            continue
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not (math.isfinite(seconds) and seconds >= 0):
            raise InputError(f"{where}:{number}: {text[:40]!r}; expected seconds from 0 on")
        due_ns = round(seconds * NS)
        if found and due_ns < found[-1]:
            raise InputError(
                f"{where}:{number}: {text} is before the line above; expected in order"
            )
        found.append(due_ns)
    if not found:
        raise InputError(f"{where}: no offsets there; expected one a line, in seconds")
    return [due_ns - found[0] for due_ns in found]
