"""Following: every fact of an evaluation from the first, as it is told, whoever asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from bus import subjects
from bus.codec import decode
from bus.connection import Bus
from bus.errors import BusError, NotStoredError
from bus.messages import (
    EvaluationFailed,
    EvaluationFinished,
    Fact,
    Facts,
    ListFacts,
    ListQueue,
    Message,
    Queue,
)
from bus.senders import forged

SILENCE_S = 1.0
"""After so long without a fact, what was stored is asked whether one was missed."""
UNKNOWN_S = 5.0
"""How long an evaluation may be unknown that has just been accepted."""
STRANGE_S = 0.2
"""The same of one that this client did not ask for."""

Stored = Callable[[str], Awaitable[Sequence[Message]]]


class Following:
    """Iterate over it: it ends with the evaluation.

    What is told now comes over the bus where it is this user's own, what was told before from the
    stream, and what others asked for from what is stored (`stored` gives its facts so far).
    own: it was asked for here, so it may be a moment before it is known.
    """

    def __init__(
        self, bus: Bus, evaluation_id: str, user: str, stored: Stored, own: bool = False
    ) -> None:
        self._patience_s = UNKNOWN_S if own else STRANGE_S
        self._bus, self._id, self._user, self._stored = bus, evaluation_id, user, stored
        self._known: set[tuple[str, int, int]] = set()
        self._ended = False
        self._fresh: asyncio.Queue[Message] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[Message]:
        early: list[Message] = []
        hear = early.append

        async def heard(subject: str, message: Message) -> None:
            if not forged(subject, message):
                hear(message)

        listening = await self._bus.listen(subjects.facts_of(self._id, self._user), heard)
        began_s = asyncio.get_running_loop().time()
        try:
            await self._told()
            hear = self._hear
            for message in early:  # it came meanwhile, so after what was told before
                hear(message)
            while True:
                if self._fresh.empty():
                    await self._look(asyncio.get_running_loop().time() - began_s)
                try:
                    async with asyncio.timeout(SILENCE_S):
                        fact = await self._fresh.get()
                except TimeoutError:
                    continue
                if isinstance(fact, EvaluationFinished | EvaluationFailed):
                    await self._told()
                    while not self._fresh.empty():
                        yield self._fresh.get_nowait()
                    yield fact
                    return
                yield fact
        finally:
            await listening.stop()

    def _hear(self, message: Message) -> None:
        if isinstance(message, EvaluationFinished | EvaluationFailed):
            if not self._ended:
                self._ended = True
                self._fresh.put_nowait(message)
        elif isinstance(message, Fact):
            key = (message.job_id, message.attempt, message.sequence)
            if key not in self._known:
                self._known.add(key)
                self._fresh.put_nowait(message)

    async def _told(self) -> None:
        """What lies in the stream, of this user's own."""
        first = 0
        try:
            while True:
                request = ListFacts(evaluation_id=self._id, user=self._user, first=first)
                page = await self._bus.request(subjects.TOLD, request, Facts)
                for data in page.facts:
                    self._hear(decode(data))
                first = page.next_first
                if not first:
                    return
        except BusError:
            return  # a coordinator is away, say: what is stored is asked next

    async def _look(self, waited_s: float) -> None:
        """What is stored; an evaluation that nobody knows is an error once it had its time."""
        try:
            for fact in await self._stored(self._id):
                self._hear(fact)
        except NotStoredError:
            waited = not self._known and waited_s > self._patience_s
            if waited and not await self._queued():
                raise
        except BusError:
            return  # the collector is away: asked again

    async def _queued(self) -> bool:
        """Whether it waits for a node: then nothing of it is told or stored yet."""
        try:
            request = ListQueue(evaluation_id=self._id, user=self._user)
            return bool((await self._bus.request(subjects.QUEUE, request, Queue)).jobs)
        except BusError:
            return False
