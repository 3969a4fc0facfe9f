"""A run that stays with a person: results, environment and trace as files, nothing in the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from analysis.accuracy import accuracy
from analysis.items import items_of
from analysis.recording import recording_of
from analysis.summary import Result
from bus.errors import InputError
from bus.messages import JobStarted, Message
from mlmodelscope.client import Client
from mlmodelscope.timeline_file import target, write


def check(folder: Path) -> None:
    """InputError where the folder cannot take the files."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already: expected a new or an empty folder")


async def keep(client: Client, result: Result, facts: Sequence[Message], folder: Path) -> None:
    """Write everything that is known of an evaluation, then forget it.

    While it ran, the bus and the store held it as any other: what is promised is that nothing
    stays there.
    """
    timeline = await client.timeline(result.evaluation_id)
    _, _, metrics = await client.stored(result.evaluation_id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        told: dict[str, Any] = msgspec.to_builtins(result)
        predictions = told.pop("predictions")
        _write(folder / "result.json", told)
        _write(folder / "accuracy.json", msgspec.to_builtins(accuracy(facts)))
        _write(folder / "environment.json", environment(facts, result))
        with (folder / "predictions.jsonl").open("wb") as file:
            jobs = items_of(facts)
            for prediction in (i.prediction for items in jobs.values() for i in items):
                file.write(msgspec.json.encode(prediction) + b"\n")
            if not jobs:
                file.writelines(msgspec.json.encode(each) + b"\n" for each in predictions)
        write(recording_of(timeline, facts, metrics), target(folder / "trace.json.gz"))
    except OSError as exc:
        raise InputError(f"cannot write to {folder}: {exc.strerror}; it is still stored") from exc
    await client.delete(result.evaluation_id)


def environment(facts: Sequence[Message], result: Result) -> list[dict[str, Any]]:
    """On what each job ran, and what it was given."""
    return [
        {
            **{
                name: getattr(fact, name)
                for name in ("job_id", "node_id", "framework", "framework_version", "environment")
            },
            "requested": fact.requested,
            "effective": result.effective,
            "model_digest": fact.model_digest,
            "dataset_digest": fact.dataset_digest,
            "node": msgspec.to_builtins(fact.node),
        }
        for fact in facts
        if isinstance(fact, JobStarted)
    ]


def _write(path: Path, value: Any) -> None:
    data = msgspec.json.format(msgspec.json.encode(value), indent=2)
    path.write_bytes(data + b"\n")
