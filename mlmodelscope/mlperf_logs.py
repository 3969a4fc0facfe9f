"""Writes a result as the four log files of MLPerf's load generator."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from analysis.mlperf_log import SCENARIOS, Logged, mlperf_files
from analysis.queries import queries_of
from analysis.summary import Result
from bus.errors import InputError
from bus.messages import Message, RunMeasured
from mlmodelscope.asked import Asked


def check(folder: Path, asked: Asked) -> None:
    """InputError where the four files could not be written, before anything is measured."""
    load = asked.scenario
    if load is None or load.name not in SCENARIOS or load.find:
        name = "online" if load is None else f"{load.name}{' --find' if load.find else ''}"
        known = ", ".join(each.replace("_", "-") for each in SCENARIOS)
        raise InputError(f"--mlperf-logs with {name}: expected a scenario of MLPerf: {known}")
    if len(asked.batch_sizes) > 1:
        raise InputError("--mlperf-logs: expected one batch size, for there is one log")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise InputError(f"--mlperf-logs {folder}: {exc.strerror}; expected a folder") from exc


def write(folder: Path, result: Result, facts: Sequence[Message]) -> None:
    """The first run's, which is the shallowest."""
    if not result.scenarios:
        raise InputError(f"--mlperf-logs {folder}: no query was measured; expected at least one")
    row = result.scenarios[0]
    runs = queries_of([fact for fact in facts if isinstance(fact, RunMeasured)])
    queries = next(q for q in runs if (q.job_id, q.run) == (row.job_id, row.run))
    logged = Logged(
        row=row,
        queries=queries,
        sut=f"{result.model} {result.model_version}, {result.framework} "
        f"{result.framework_version}, {result.node_id}",
        written_by=f"MLModelScope {_version()}, in LoadGen's format",
        items=max(1, len(result.predictions)),
        predictions=result.predictions,
    )
    for name, text in mlperf_files(logged).items():
        (folder / name).write_text(text)


def _version() -> str:
    try:
        return version("mlmodelscope")
    except PackageNotFoundError:
        return "(not installed)"
