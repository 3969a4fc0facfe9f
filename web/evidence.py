"""Seen: what the sections of a page ask of an evaluation, spans and all, kept for the next one.

A page comes without a span; its sections ask one after the other for the same timeline.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from aiohttp import web

from analysis.evidence import Evidence
from analysis.layers import LayerRow
from analysis.summary import Result
from bus.messages import LEVELS, Ceiling, Message, MetricsRecorded
from collector.timeline import Timeline
from mlmodelscope.analyses import Analyses, known_ceilings
from mlmodelscope.evaluating import slowest
from web import stored
from web.state import State

KEPT = 6
KEPT_S = 120.0
"""Spans that came late are seen after so long at the latest."""
MOST_SPANS = 3_000_000
"""What all that is kept may hold together; one evaluation is kept whatever it holds."""
MODEL = LEVELS.index("model")


@dataclass
class Seen:
    """One evaluation with its timeline, and what was computed of it."""

    evaluation_id: str
    facts: Sequence[Message]
    metrics: Sequence[MetricsRecorded]
    result: Result
    timeline: Timeline | None
    ceilings: list[Ceiling]
    at_s: float
    _analyses: dict[int, Analyses] = field(default_factory=dict)
    _layers: list[LayerRow] | None = None

    @property
    def spans(self) -> int:
        """How many of them lie in memory."""
        return len(self.timeline) if self.timeline is not None else 0

    async def analyses(self, batch_size: int = 0) -> Analyses:
        """The analyses of one batch size (0: the best)."""
        if batch_size not in self._analyses:
            made = await asyncio.to_thread(self._analyze, batch_size)
            self._analyses.setdefault(batch_size, made)
        return self._analyses[batch_size]

    def _analyze(self, batch_size: int) -> Analyses:
        return Analyses(Evidence(self.facts, self.timeline, ceilings=self.ceilings), batch_size)

    async def layers(self) -> list[LayerRow]:
        """Every layer, the slowest first."""
        if self._layers is None:
            asked = (self.facts, self.result, self.timeline, stored.ALL_LAYERS)
            self._layers = await asyncio.to_thread(slowest, *asked)
        return self._layers


class Evidences:
    """The evaluations that were looked into last."""

    KEY: ClassVar[web.AppKey[Evidences]]

    def __init__(self, state: State) -> None:
        self._state = state
        self._kept: OrderedDict[str, asyncio.Task[Seen]] = OrderedDict()

    async def of(self, name: str) -> Seen:
        """An evaluation with its timeline; NotStoredError where it is gone, or not for who asks.

        What is kept was asked for by others too: its facts are fetched anew for whoever asks.
        """
        known = await stored.known(self._state.client, name)
        task = self._kept.get(known.evaluation_id)
        if task is None or _is_stale(task, known):
            task = asyncio.create_task(self._fetched(known))
            self._kept[known.evaluation_id] = task
        self._kept.move_to_end(known.evaluation_id)
        seen = await asyncio.shield(task)  # others may wait for the same
        self._make_room()
        return seen

    async def _fetched(self, known: stored.Known) -> Seen:
        whole = known.result.recording is not None or is_deep(known.result)
        timeline = await self._timeline(known.evaluation_id) if whole else None
        ceilings = await known_ceilings(self._state.client, [*known.facts])
        now_s = time.monotonic()
        parts = (known.evaluation_id, known.facts, known.metrics, known.result)
        return Seen(*parts, timeline, ceilings, now_s)

    async def _timeline(self, evaluation_id: str) -> Timeline:
        chunks = [await self._state.client.timeline_chunk(evaluation_id, 0)]
        while len(chunks) < chunks[0].chunks:
            chunks.append(await self._state.client.timeline_chunk(evaluation_id, len(chunks)))
        return await asyncio.to_thread(Timeline.from_chunks, chunks)

    def _make_room(self) -> None:
        while len(self._kept) > 1 and (len(self._kept) > KEPT or self._held() > MOST_SPANS):
            self._kept.popitem(last=False)

    def _held(self) -> int:
        done = [t for t in self._kept.values() if t.done() and not t.cancelled()]
        return sum(task.result().spans for task in done if task.exception() is None)


Evidences.KEY = web.AppKey("evidences", Evidences)


def is_deep(result: Result) -> bool:
    """Whether spans below the model were told of."""
    return any(LEVELS.index(level) > MODEL for level in result.spans)


def _is_stale(task: asyncio.Task[Seen], known: stored.Known) -> bool:
    if not task.done():
        return False
    if task.cancelled() or task.exception() is not None:
        return True
    seen = task.result()
    return len(seen.facts) != len(known.facts) or time.monotonic() - seen.at_s > KEPT_S
