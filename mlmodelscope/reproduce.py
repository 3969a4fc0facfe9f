"""The one command that measures a stored evaluation again, and what the record does not hold."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from analysis.items import items_of
from analysis.summary import Result
from bus.messages import LEVELS, InputTaken, JobStarted, Manifest, Message, Run, Scenario

OWN = {"threads": "--threads", "device": "--device", "precision": "--precision"}
"""Settings that have an option of their own."""
FETCHED = ("package://", "http://", "https://")
"""Addresses that anybody's node finds."""
LOADS = {
    "target_qps": "--target-qps",
    "min_duration_s": "--min-duration",
    "min_queries": "--min-queries",
    "max_duration_s": "--max-duration",
    "max_queries": "--max-queries",
    "samples_per_query": "--samples-per-query",
    "latency_bound_ms": "--latency-bound",
    "burst_size": "--burst-size",
}


def command(facts: Sequence[Message], result: Result, manifest: Manifest | None) -> str:
    """`mlmodelscope evaluate …` (or accuracy) with everything that the record holds."""
    started = _started(facts)
    if started.recording is not None:
        return f"mlmodelscope import {shlex.quote(started.recording.file)}"
    verb = "accuracy" if started.dataset else "evaluate"
    words = ["mlmodelscope", verb, f"{started.model}@{started.model_version}"]
    if started.dataset:
        items = len(items_of(facts).get(started.job_id, []))
        words += ["--dataset", f"{started.dataset}@{started.dataset_version}"]
        words += ["--limit", str(items)] if items else []
    words += ["--framework", f"{started.framework}@{result.framework_version.partition('+')[0]}"]
    words += [*_runs(started.runs, bool(started.dataset)), *_settings(started)]
    if not started.dataset:
        for one in _own_inputs(started, manifest):
            words += ["--input", one.url if one.url.startswith(FETCHED) else one.name]
    return " ".join(map(shlex.quote, words))


def remarks(facts: Sequence[Message], manifest: Manifest | None) -> list[str]:
    """What one must know before typing it."""
    started = _started(facts)
    if started.recording is not None:
        return ["it was recorded elsewhere, and imported: the file has to be there"]
    said = [
        f"on the same machine: add --node {started.node_id}; the digests of the model and the data "
        "above tell whether it is the same thing that is measured"
    ]
    if manifest is None:
        said.append("the manifest was a file of its owner's: give its path in place of the name")
    own = [] if started.dataset else _own_inputs(started, manifest)
    if files := [one for one in own if not one.url.startswith(FETCHED)]:
        listed = ", ".join(f"{one.name} ({one.checksum or 'no checksum'})" for one in files[:3])
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        said.append(f"of files the record holds the name and not the content: {listed}{more}")
    if any(run.options and run.options.replay_ns for run in started.runs):
        said.append("the times of the replayed load are not in the command: add --replay FILE")
    return said


def _started(facts: Sequence[Message]) -> JobStarted:
    return next(fact for fact in facts if isinstance(fact, JobStarted))


def _runs(runs: Sequence[Run], dataset: bool) -> Iterator[str]:
    if not runs:
        return
    sizes = dict.fromkeys(run.batch_size for run in runs)
    yield from ("--batch-size", ",".join(map(str, sizes)))
    first = runs[0]
    if not dataset and first.queries and first.options is None:
        yield from ("--runs", str(first.queries))
    yield from ("--warmup", str(first.warmup))
    if not dataset:
        levels = {run.level for run in runs}
        yield from ("--trace", max(levels, key=LEVELS.index))
        if len(levels) == 1 and LEVELS.index(first.level) > LEVELS.index("model"):
            yield "--no-leveled"
        if first.options is not None:
            yield from _load(first.options)


def _load(load: Scenario) -> Iterator[str]:
    yield from ("--scenario", load.name.replace("_", "-"))
    for name, option in LOADS.items():
        if value := getattr(load, name):
            yield from (option, f"{value:g}")
    if load.percentile:
        yield from ("--percentile", f"{100 * load.percentile:g}")
    if load.until_ci:
        yield from ("--until-ci", f"{100 * load.until_ci:g}%")
    if load.issue_threads != 1:
        yield from ("--issue-threads", str(load.issue_threads))
    if load.find:
        yield from ("--find", load.find.replace("_", "-"))
    if load.accuracy:
        yield "--each-once"


def _settings(started: JobStarted) -> Iterator[str]:
    if started.environment != "default":
        yield from ("--environment", started.environment)
    requested = dict(started.requested)
    if not started.dataset and requested.pop("serialize", 0):
        yield "--serialize"
    yield from settings_as_options(requested)


def settings_as_options(settings: Mapping[str, str | int]) -> Iterator[str]:
    """Settings as they are typed: those with an option of their own by that."""
    for name, value in settings.items():
        if option := OWN.get(name):
            yield from (option, str(value))
        else:
            yield from ("--setting", f"{name}={value}")


def _own_inputs(started: JobStarted, manifest: Manifest | None) -> list[InputTaken]:
    """What was given, unless it is what comes with the model."""
    shipped = [sample.url for sample in manifest.samples] if manifest else []
    return [] if [one.url for one in started.inputs] == shipped else started.inputs
