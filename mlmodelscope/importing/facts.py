"""The facts of an imported evaluation: what a node and a coordinator would have told of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from bus.messages import (
    LEVELS,
    EvaluationFinished,
    Fact,
    GraphDescribed,
    JobFinished,
    JobOutcome,
    JobStarted,
    NodeAnnounced,
    Recording,
    Run,
    RunMeasured,
)
from mlmodelscope.importing.batches import NODE, SOURCE, Names
from mlmodelscope.importing.files import Content
from mlmodelscope.importing.profile import UNKNOWN, Options, Profile
from mlmodelscope.importing.secrets_withheld import without_secrets

QUERIES = 50_000
ABOUT_BYTES = 256 * 1024
THREADS = 10_000
"""More would not fit into one message, nor be read by anyone."""


def names_of(content: Content, options: Options, again: int = 0) -> Names:
    """The evaluation's id: the content's sha256, or one of it and what a person said beside it.

    again: how many times it was imported and then deleted; a deleted evaluation stays forgotten.
    """
    if options == Options() and not again:
        return Names(content.sha256[:32])
    said = [content.sha256, options.model, options.call, options.batch_size, again]
    if options.cuda_runtime != Options().cuda_runtime:
        said.append(options.cuda_runtime)
    return Names(sha256(msgspec.json.encode(said)).hexdigest()[:32])


@dataclass(frozen=True, slots=True)
class Import:
    """One file that was read, what a person said of it, and what it is called."""

    content: Content
    profile: Profile
    options: Options
    names: Names


def facts(of: Import, now_ns: int, batches: int) -> Iterator[Fact | EvaluationFinished]:
    """Every fact, in order. The time of telling is now's; the times within are the recording's.

    batches: how many there are of spans.
    """
    profile, names = of.profile, of.names
    runs = _runs(profile, of.options)
    bodies = [_started(of, runs), *_measured(profile, runs)]
    if profile.layers:
        bodies.insert(1, (GraphDescribed, {"run": 0, "layers": profile.layers}))
    bodies.append((JobFinished, _ended(profile, batches)))
    for sequence, (kind, fields) in enumerate(bodies):
        yield kind(
            evaluation_id=names.evaluation_id,
            job_id=names.job_id,
            attempt=1,
            node_id=NODE,
            sequence=sequence,
            at_ns=now_ns,
            **fields,
        )
    outcome = JobOutcome(
        job_id=names.job_id, node_id=NODE, attempt=1, state="finished", facts=len(bodies)
    )
    yield EvaluationFinished(evaluation_id=names.evaluation_id, at_ns=now_ns, jobs=[outcome])


Body = tuple[type[Fact], dict[str, Any]]


def recording(content: Content, profile: Profile) -> Recording:
    """Where the spans come from, and what became of every event."""
    spans, notes = profile.spans, list(profile.notes)
    about, withheld = without_secrets(profile.about)
    if withheld:
        notes.append(f"{withheld} fields at the top of the file look like secrets: not kept")
    size = len(msgspec.json.encode(about))
    if size > ABOUT_BYTES:
        notes.append(f"{size:,} bytes at the top of the file are not kept ({', '.join(about)})")
        about = {}
    threads = profile.threads.told()
    if len(threads) > THREADS:
        notes.append(f"the names of {THREADS:,} of {len(threads):,} threads are kept")
        threads = dict(list(threads.items())[:THREADS])
    return Recording(
        file=content.path.name,
        format=profile.format,
        sha256=content.sha256,
        size_bytes=len(content.data),
        clock=profile.clock,
        first_ns=min(spans.start_ns),
        last_ns=max(map(spans.end_ns, range(len(spans)))),
        events=profile.ledger.told(),
        threads=threads,
        windows=profile.windows,
        about=about,
        notes=notes,
    )


def _runs(profile: Profile, options: Options) -> list[Run]:
    """One run, at the deepest level that the profiler looked at: it slowed the calls as well."""
    if not profile.calls:
        return []
    return [
        Run(
            index=0,
            batch_size=options.batch_size,
            level=LEVELS[max(profile.spans.level)],
            queries=len(profile.calls),
            warmup=0,
            scenario="imported",
        )
    ]


def _started(of: Import, runs: list[Run]) -> Body:
    content, profile = of.content, of.profile
    stem = content.path.name.removesuffix(".gz").removesuffix(".json")
    node = NodeAnnounced(
        node_id=NODE,
        incarnation=UNKNOWN,
        version=UNKNOWN,
        host=UNKNOWN,
        arch=UNKNOWN,
        system=UNKNOWN,
        cpu=UNKNOWN,
        devices=profile.devices,
        slots=0,
    )
    return JobStarted, {
        "incarnation": UNKNOWN,
        "model": of.options.model or stem,
        "model_version": UNKNOWN,
        "model_digest": UNKNOWN,
        "framework": profile.framework,
        "framework_version": UNKNOWN,
        "environment": UNKNOWN,
        "weights": UNKNOWN,
        "runs": runs,
        "node": node,
        "recording": recording(content, profile),
    }


def _measured(profile: Profile, runs: list[Run]) -> Iterator[Body]:
    spans, calls = profile.spans, profile.calls
    for run in runs:
        begin_ns = spans.start_ns[calls[0]]
        for first in range(0, len(calls), QUERIES):
            piece = calls[first : first + QUERIES]
            yield (
                RunMeasured,
                {
                    "run": run.index,
                    "batch_size": run.batch_size,
                    "level": run.level,
                    "scenario": run.scenario,
                    "start_ns": begin_ns,
                    "first_query": first,
                    "starts_ns": [spans.start_ns[row] - begin_ns for row in piece],
                    "durations_ns": [spans.duration_ns[row] for row in piece],
                    "last": first + QUERIES >= len(calls),
                },
            )


def _ended(profile: Profile, batches: int) -> dict[str, Any]:
    return {
        "spans": profile.levels(),
        "span_batches": {SOURCE: batches},
        "unavailable": profile.unavailable,
    }
