"""What the web's benchmark fills a store with: a long history, and one evaluation of many spans.

Both are made of one real evaluation, as the collector keeps it: ids and times are changed, in the
large one also the spans and the calls that they are of.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Sequence
from itertools import islice
from typing import Any

from msgspec.structs import replace

from benchmarks.assembly_side import MODEL, ROWS, traced
from bus import codec, subjects
from bus.messages import (
    LEVELS,
    EvaluationFailed,
    EvaluationFinished,
    Fact,
    JobFinished,
    Message,
    RunMeasured,
    SpansRecorded,
)
from collector.records import Update, evaluation_updates, fact_document, spans_document
from collector.store import Store

DATABASE = "mlmodelscope"
MANY, USERS = 200, 40
"""Models and users in the history: enough that a filter finds few among many."""
A_TIME = 2_000
APART_NS = 60_000_000_000


async def fill_history(store: Store, evaluation_id: str, count: int) -> str:
    """So many copies of the evaluation, each a minute older than the one before; one's id."""
    found = await store.one("evaluations", {"_id": evaluation_id})
    assert found is not None
    names = [f"{found['model']}-{number}" for number in range(MANY)]
    for first in range(0, count, A_TIME):
        copies = []
        for number in range(first, min(first + A_TIME, count)):
            name = uuid.uuid4().hex
            changed = {
                "_id": name,
                "at_ns": found["at_ns"] - (number + 1) * APART_NS,
                "model": names[number % MANY],
                "user": f"user-{number % USERS}",
                "runs": _renamed(found.get("runs", {}), evaluation_id, name),
                "jobs": [
                    {**job, "job_id": job["job_id"].replace(evaluation_id, name)}
                    for job in found.get("jobs", [])
                ],
            }
            copies.append({**found, **changed})
        await store.insert("evaluations", copies)
    print(f"web: {count:,} evaluations are stored", file=sys.stderr, flush=True)
    return str(name)


def _renamed(runs: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {
        key.replace(old, new): {**run, "job_id": run["job_id"].replace(old, new)}
        for key, run in runs.items()
    }


async def store_large(store: Store, facts: Sequence[Message], count: int) -> str:
    """An evaluation with so many spans, of the facts of one that was traced; its id."""
    name = uuid.uuid4().hex
    old = next(fact.evaluation_id for fact in facts if isinstance(fact, Fact))
    batches = await asyncio.to_thread(_batches, name, facts, count)
    levels: dict[str, int] = {}
    for batch in batches:
        for level, spans in batch.levels.items():
            levels[level] = levels.get(level, 0) + spans
    told = [_told(fact, old, name, levels, len(batches)) for fact in facts]
    documents, updates = [], list[Update]()
    for fact in told:
        data = codec.encode(fact)
        documents.append(fact_document(fact, data))
        kind = type(fact).__name__
        updates += evaluation_updates(subjects.fact("node", "large", name, kind), fact, 0)
    await store.insert("facts", documents)
    for first in range(0, len(batches), 20):
        await store.insert("spans", [spans_document(one) for one in batches[first : first + 20]])
    await store.update("evaluations", updates)
    print(f"web: an evaluation of {count:,} spans is stored", file=sys.stderr, flush=True)
    return name


def _batches(name: str, facts: Sequence[Message], count: int) -> list[SpansRecorded]:
    job = next(fact for fact in facts if isinstance(fact, JobFinished))
    deepest = max(fact.run for fact in facts if isinstance(fact, RunMeasured))
    spans, found = traced(), []
    for number in range(0, count, ROWS):
        rows = list(islice(spans, min(ROWS, count - number)))
        levels: dict[str, int] = {}
        for row in rows:
            levels[LEVELS[row.level]] = levels.get(LEVELS[row.level], 0) + 1
        found.append(
            SpansRecorded(
                evaluation_id=name,
                job_id=job.job_id.replace(job.evaluation_id, name),
                attempt=job.attempt,
                node_id=job.node_id,
                source="worker",
                batch=number // ROWS,
                run=deepest,
                levels=levels,
                count=len(rows),
                first_start_ns=rows[0].start_ns,
                last_end_ns=rows[-1].start_ns + rows[-1].duration_ns,
                block=codec.pack_rows(rows),
            )
        )
    return found


def _told(fact: Message, old: str, name: str, levels: dict[str, int], batches: int) -> Any:
    """The fact as the larger evaluation would have told it."""
    if isinstance(fact, EvaluationFinished | EvaluationFailed):
        jobs = [replace(job, job_id=job.job_id.replace(old, name)) for job in fact.jobs]
        return replace(fact, evaluation_id=name, jobs=jobs)
    assert isinstance(fact, Fact)
    fact = replace(fact, evaluation_id=name, job_id=fact.job_id.replace(old, name))
    if isinstance(fact, JobFinished):
        emitted = {"worker": levels}
        return replace(
            fact, spans=levels, span_batches={"worker": batches}, emitted=emitted, lost_spans=0
        )
    if isinstance(fact, RunMeasured):
        calls = max(levels.get(LEVELS[MODEL], 0), 1)
        times = [fact.durations_ns[n % len(fact.durations_ns)] for n in range(calls)]
        starts = [n * max(times) for n in range(calls)]
        return replace(fact, durations_ns=times, starts_ns=starts)
    return fact
