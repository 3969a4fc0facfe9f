"""Evaluations that keep coming while something dies, and what their client learns of each."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bus.errors import EvaluationError, MLModelScopeError
from bus.manifest import InputParameters, OutputParameters
from bus.messages import (
    Evaluate,
    FrameworkWanted,
    Input,
    Manifest,
    ModelInput,
    ModelOutput,
    ModelResources,
    Wanted,
)
from mlmodelscope import Client
from mlmodelscope.evaluation import Evaluation

RUNNING = 4
"""How many evaluations are on their way at once: two for each of two nodes."""
QUERIES, PREDICT_S = 200, 0.003
"""An evaluation takes 0.6 s of its node, and more."""


@dataclass
class Told:
    """One evaluation as its client saw it; `error` where it did not finish, or was not accepted."""

    evaluation_id: str
    asked_s: float
    accepted_s: float = 0.0
    ended_s: float = 0.0
    state: str = ""
    kind: str = ""
    error: str = ""

    @property
    def accepted(self) -> bool:
        """Whether it was said to have been taken in hand."""
        return self.accepted_s > 0


@dataclass
class Load:
    """What was asked for so far; times by this process's monotonic clock."""

    client: Client
    told: list[Told] = field(default_factory=list)
    running: bool = True

    @property
    def in_hand(self) -> int:
        """Accepted and not ended."""
        return sum(1 for one in self.told if one.accepted and not one.ended_s)

    async def keep_asking(self) -> None:
        """One evaluation after the other; after a refusal, a moment later the next."""
        while self.running:
            if not (await self.ask()).accepted:
                await asyncio.sleep(0.25)

    async def ask(self, **fields: Any) -> Told:
        """Ask for one, and follow it to its end."""
        request = pulses(**fields)
        told = Told(request.evaluation_id, time.monotonic())
        self.told.append(told)
        try:
            evaluation = await self.client.submit(request)
            told.accepted_s = time.monotonic()
            told.state = await _followed(evaluation)
        except EvaluationError as exc:
            told.state, told.kind, told.error = "failed", exc.kind, str(exc)
        except MLModelScopeError as exc:
            told.state, told.kind, told.error = "unanswered", exc.kind, str(exc)
        finally:
            told.ended_s = time.monotonic()
        return told


async def _followed(evaluation: Evaluation) -> str:
    return (await evaluation.result()).state


@asynccontextmanager
async def under_load(bus_url: str) -> AsyncIterator[Load]:
    """A client that keeps asking until the block ends; it then waits for what it was promised."""
    async with Client(bus_url, user="load") as client:
        load = Load(client)
        asking = [asyncio.create_task(load.keep_asking()) for _ in range(RUNNING)]
        try:
            yield load
            load.running = False
            await asyncio.gather(*asking)
        finally:
            load.running = False
            for task in asking:
                task.cancel()


def pulses(
    *,
    arguments: dict[str, Any] | None = None,
    queries: int = QUERIES,
    node: str = "",
    **fields: Any,
) -> Evaluate:
    """A request for the model of these benchmarks: queries that take PREDICT_S each."""
    given = {"predict_s": PREDICT_S, **(arguments or {})}
    return Evaluate(
        evaluation_id=uuid.uuid4().hex,
        user="load",
        manifest=Manifest(
            name="Pulse",
            version="1.0.0",
            framework=FrameworkWanted(name="pulse"),
            inputs=[ModelInput(type="raw", name="x", parameters=InputParameters(dimensions=[4]))],
            outputs=[
                ModelOutput(type="raw", name="y", parameters=OutputParameters(dimensions=[4]))
            ],
            model=ModelResources(constructor="pulse:model", arguments=given),
        ),
        wanted=Wanted(node=node),
        # New each time: a node has to write it down.
        inputs=[Input(name="four.json", data=f"[1, 2, 3, {random.random()}]".encode())],
        queries=queries,
        warmup=1,
        level="model",
        **{"timeout_s": 60.0, **fields},
    )
