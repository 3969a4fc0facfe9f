"""Messages <-> the documents that the store keeps of them; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median_low
from typing import Any

import msgspec

from bus import subjects
from bus.messages import (
    LEVELS,
    EvaluationFailed,
    EvaluationFinished,
    Fact,
    HistoryRow,
    JobStarted,
    MetricsRecorded,
    ModelOpened,
    Prediction,
    PredictionsMade,
    RunMeasured,
    RunSummary,
    SpansRecorded,
)

Document = dict[str, Any]
Update = tuple[Document, Document, bool]
Ended = EvaluationFinished | EvaluationFailed

SMALLEST, LARGEST = -(2**63), 2**63 - 1
MOST_CLOCKS = 256
"""Measurements of one clock that are kept of a batch."""


def fact_document(fact: Fact | Ended, data: bytes) -> Document:
    """One fact: what it is found by, and itself as it came."""
    kind = type(fact).__name__
    if isinstance(fact, Fact):
        named = f"{fact.job_id}/{fact.attempt}/{fact.sequence}"
        place = {"job_id": fact.job_id, "attempt": fact.attempt, "sequence": fact.sequence}
    else:
        # Sorts after every job's facts, because no job's id begins with this.
        named, place = f"{fact.evaluation_id}/{kind}", {"job_id": "~", "attempt": 0, "sequence": 0}
    return _bounded(
        {
            "_id": named,
            "evaluation_id": fact.evaluation_id,
            **place,
            "kind": kind,
            "at_ns": fact.at_ns,
            "bytes": len(data),
            "data": data,
        }
    )


def spans_document(batch: SpansRecorded) -> Document:
    """One batch of spans: its envelope by field, its block as it came."""
    fields = msgspec.structs.asdict(batch)
    levels = {name: min(n, LARGEST) for name, n in batch.levels.items() if name in LEVELS}
    dropped = {name: min(n, LARGEST) for name, n in batch.dropped.items() if name in LEVELS}
    clock = _bounded(msgspec.structs.asdict(batch.clock))
    clocks = [_bounded(msgspec.structs.asdict(each)) for each in batch.clocks[:MOST_CLOCKS]]
    told = {"levels": levels, "dropped": dropped, "clock": clock, "clocks": clocks}
    return _bounded({"_id": _batch_name(batch), **fields, **told, "bytes": len(batch.block)})


def spans_of(document: Document) -> SpansRecorded:
    """The batch that a document was made of."""
    return msgspec.convert({k: v for k, v in document.items() if k != "_id"}, SpansRecorded)


def metrics_document(batch: MetricsRecorded, data: bytes) -> Document:
    """One batch of samples: what it is found by, and itself as it came."""
    return _bounded(
        {
            "_id": f"{_batch_name(batch)}/{batch.name}",
            "evaluation_id": batch.evaluation_id,
            "job_id": batch.job_id,
            "attempt": batch.attempt,
            "batch": batch.batch,
            "name": batch.name,
            "bytes": len(data),
            "data": data,
        }
    )


def _batch_name(batch: SpansRecorded | MetricsRecorded) -> str:
    whose = batch.job_id or batch.evaluation_id
    return f"{whose}/{batch.attempt}/{batch.source}/{batch.batch}"


def _bounded(document: Document) -> Document:
    """BSON knows no whole number beyond 64 bits: a stranger's is cut to the nearest it knows."""
    return {
        key: min(max(value, SMALLEST), LARGEST) if isinstance(value, int) else value
        for key, value in document.items()
    }


def evaluation_updates(subject: str, fact: Fact | Ended, due_ns: int) -> Iterator[Update]:
    """What a fact changes in its evaluation's document; doing it twice changes nothing.

    due_ns: when, on the collector's clock, an ended evaluation's spans are waited for no more.
    """
    whose = {"_id": fact.evaluation_id}
    user = subject.split(".")[4] if subject.count(".") >= 4 else ""
    at_ns = min(max(fact.at_ns, SMALLEST), LARGEST)
    first = {"state": "running", "text": "", "kind": "", "latest": 0, "due": 0, "user": user}
    started = {k: "" for k in STARTED}
    born = {"$setOnInsert": {**first, **started, "node_id": ""}, "$min": {"at_ns": at_ns}}
    yield whose, born, True
    if isinstance(fact, JobStarted):
        latest = min(fact.attempt, LARGEST)
        fields = {name: getattr(fact, name) for name in (*started, "node_id")}
        if not fields["framework_version"]:
            del fields["framework_version"]  # of a container: known when the model was opened
        fields["origin"] = "imported" if fact.recording else "measured"
        fields["readers"] = fact.readers
        # An older attempt that is told again does not overwrite a newer one.
        yield {**whose, "latest": {"$lte": latest}}, {"$set": {**fields, "latest": latest}}, False
    elif isinstance(fact, ModelOpened):
        # The worker knows better than what its node announced.
        opened = {"framework_version": fact.framework_version}
        yield {**whose, "latest": {"$lte": min(fact.attempt, LARGEST)}}, {"$set": opened}, False
    elif isinstance(fact, RunMeasured) and fact.first_query == 0 and fact.last:
        yield run_update(fact, fact.durations_ns)
    elif isinstance(fact, PredictionsMade):
        labelled = [p for p in fact.predictions if p.truth is not None and p.truth.index >= 0]
        if labelled:
            # Under the frame's own key: told again, it counts once.
            key = f"judged.{subjects.token(fact.job_id)}/{fact.attempt}/{fact.run}/{fact.first}"
            right = sum(bool(p.classes) and p.classes[0].index == _class(p) for p in labelled)
            counts = {"job_id": fact.job_id, "attempt": min(fact.attempt, LARGEST)}
            counts |= {"labelled": len(labelled), "right": right}
            yield whose, {"$set": {key: counts}}, False
    elif isinstance(fact, Ended):
        yield whose, {"$set": _ended(fact, at_ns, due_ns)}, False


STARTED = (
    *("model", "model_version", "framework", "framework_version"),
    *("weights", "dataset", "dataset_version"),
)
"""What the first word of a job says of its evaluation."""


def _class(prediction: Prediction) -> int:
    return prediction.truth.index if prediction.truth is not None else -1


def run_update(fact: RunMeasured, durations_ns: list[int]) -> Update:
    """A run's summary, made of all its queries."""
    key = f"runs.{subjects.token(fact.job_id)}/{fact.attempt}/{fact.run}"
    summary = {
        "job_id": fact.job_id,
        "attempt": fact.attempt,
        "run": fact.run,
        "batch_size": fact.batch_size,
        "level": fact.level,
        "scenario": fact.scenario,
        "queries": len(durations_ns),
        "median_ns": median_low(durations_ns) if durations_ns else 0,
    }
    return {"_id": fact.evaluation_id}, {"$set": {key: _bounded(summary)}}, False


def _ended(fact: Ended, at_ns: int, due_ns: int) -> Document:
    state = "finished"
    kind = text = ""
    if isinstance(fact, EvaluationFailed):
        state = "cancelled" if fact.kind == "cancelled" else "failed"
        kind, text = fact.kind, fact.text
    return {
        "state": state,
        "kind": kind,
        "text": text,
        "ended_ns": at_ns,
        "jobs": [
            {"job_id": job.job_id, "attempt": min(job.attempt, LARGEST), "state": job.state}
            for job in fact.jobs
        ],
        "due": due_ns,
        "traceparent": fact.traceparent,
        "otlp_endpoint": fact.otlp_endpoint,
    }


def history_row(document: Document) -> HistoryRow:
    """An evaluation's document as a row of a list; only the winning attempts' runs."""
    runs = list(document.get("runs", {}).values())
    winners = winning_attempts(document, runs)
    shown = [r for r in runs if r["attempt"] == winners[r["job_id"]]]
    shown.sort(key=lambda r: (r["job_id"], r["run"]))
    fields = {name: document.get(name, "") for name in HISTORY_FIELDS}
    judged = list(document.get("judged", {}).values())
    winners = winning_attempts(document, judged)
    judged = [counts for counts in judged if counts["attempt"] == winners[counts["job_id"]]]
    return HistoryRow(
        evaluation_id=document["_id"],
        at_ns=document["at_ns"],
        **fields,
        weights=document.get("weights") or "trained",
        origin=document.get("origin", "measured"),
        runs=[msgspec.convert(r, RunSummary) for r in shown],
        labelled=sum(counts["labelled"] for counts in judged),
        right=sum(counts["right"] for counts in judged),
    )


def winning_attempts(evaluation: Document, seen: Iterable[Document]) -> dict[str, int]:
    """For each job the attempt that counts: the accepted one, or else the highest seen."""
    winners: dict[str, int] = {}
    for document in seen:
        job_id, attempt = document["job_id"], document["attempt"]
        winners[job_id] = max(attempt, winners.get(job_id, attempt))
    return winners | {job["job_id"]: job["attempt"] for job in evaluation.get("jobs", [])}


HISTORY_FIELDS = (
    "user",
    "model",
    "model_version",
    "framework",
    "framework_version",
    "node_id",
    "state",
    "text",
    "dataset",
    "dataset_version",
)
