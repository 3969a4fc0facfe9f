"""One evaluation of the model through the whole system, from the request to its measured times."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

from benchmarks.effort import Effort
from benchmarks.model_files import ModelFiles
from benchmarks.rounds import Block
from bus import subjects
from bus.connection import Bus
from bus.errors import EvaluationError, RefusedError
from bus.messages import (
    Accepted,
    Evaluate,
    EvaluationFailed,
    EvaluationFinished,
    Level,
    Message,
    PredictionsMade,
    Refused,
    RunMeasured,
    Wanted,
)

LIMIT_S = 120.0


@dataclass(frozen=True)
class Asked:
    """What came of an evaluation: a block of queries by level; the class that it saw."""

    blocks: dict[Level, Block]
    best: int


async def evaluate(bus: Bus, files: ModelFiles, level: Level, effort: Effort) -> Asked:
    """Ask, wait for the end, and gather what was measured."""
    request = Evaluate(
        evaluation_id=uuid.uuid4().hex,
        user="benchmark",
        model=files.manifest.name,
        wanted=Wanted(framework=files.framework),
        inputs=[files.photo],
        queries=effort.queries,
        warmup=effort.warmup,
        level=level,
        settings={"threads": 1},
        timeout_s=LIMIT_S,
    )
    facts = await _facts(bus, request)
    runs = [fact for fact in facts if isinstance(fact, RunMeasured)]
    predictions = next(fact for fact in facts if isinstance(fact, PredictionsMade)).predictions
    return Asked(
        {run.level: Block(run.starts_ns, run.durations_ns) for run in runs},
        predictions[0].classes[0].index,
    )


async def _facts(bus: Bus, request: Evaluate) -> list[Message]:
    """Everything that is told of an evaluation, its end included."""
    facts: list[Message] = []
    ended = asyncio.Event()

    async def heard(_: str, fact: Message) -> None:
        facts.append(fact)
        if isinstance(fact, EvaluationFinished | EvaluationFailed):
            ended.set()

    listening = await bus.listen(subjects.facts_of(request.evaluation_id), heard)
    try:
        answer = await bus.request(subjects.EVALUATE, request, Accepted, Refused)
        if isinstance(answer, Refused):
            raise RefusedError(answer.text, answer.kind, answer)
        await asyncio.wait_for(ended.wait(), 2 * LIMIT_S)
    finally:
        await listening.stop()
    for fact in facts:
        if isinstance(fact, EvaluationFailed):
            raise EvaluationError(request.evaluation_id, fact.kind, fact.text)
    return facts
