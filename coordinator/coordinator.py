"""Coordinator: answers requests; follows nodes, models, jobs and facts; lets the rest decide."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from bus import subjects
from bus.buckets import Watch
from bus.clock_watch import ClockWatch
from bus.codec import encode
from bus.connection import Bus, Handler
from bus.consumer import Consumer, Received
from bus.errors import BusError
from bus.groups import Groups
from bus.holding import USER_BYTES, USER_SPANS, read_most
from bus.messages import (
    LEVELS,
    Cancel,
    DescribeSystem,
    Done,
    Evaluate,
    EvaluationRecord,
    Facts,
    Fits,
    JobFailed,
    JobFinished,
    ListDatasets,
    ListFacts,
    ListModels,
    ListNodes,
    ListQueue,
    Message,
    NodeAlive,
    NodeAnnounced,
    Open,
    Publish,
    Refused,
    SystemDescribed,
    Undecodable,
    Unpublish,
)
from bus.senders import forged
from bus.service import Service
from bus.system import about
from coordinator.admission import Plan, admit
from coordinator.answers import Answers
from coordinator.attempts import AHEAD, Attempts, accepted
from coordinator.board import Board
from coordinator.dataset_shelf import DatasetShelf
from coordinator.holdings import Stored
from coordinator.opening import open_model
from coordinator.queue import Bounds
from coordinator.ran import Ran
from coordinator.registry import Registry
from coordinator.releasing import Releasing
from coordinator.route import route_span
from coordinator.shelf import Shelf
from coordinator.sweep import Sweep
from coordinator.turns import read_shares
from manifests.zoo import Zoo, zoo_folder

Q = TypeVar("Q", bound=Message)
log = logging.getLogger(__name__)

ACK_WAIT_S = 10.0
"""After so long, what a coordinator that died had in its hands is given to another."""
MARK_S = 0.5
"""Shorter than a sweep lets a job settle, which publishes again what bears no mark."""
NOT_KNOWN = ("unknown_model", "unknown_dataset", "unmet_version")
"""Refusals that are given only when everything that was published is known here."""
APPLICATION = LEVELS.index("application")
DESCRIBED_S = 1.0
"""However many ask, the whole system is asked once in so long."""
PAGE_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """sweep_s: how often everything is looked at, beside what is heard of at once.

    home: the data folder, whose lists of libraries' models win over the shipped ones. groups: a
    file of who is in which group (bus/groups.py), for private models. queue_limit,
    user_limit: how many jobs may be there that have not ended, of all and of one user. user_bytes,
    user_spans: what one user's inputs and stored evaluations may take; 0: no limit. shares: how
    much more one user may have than another (`ann=2,ben=0.5`; 1). ahead: how many jobs a node is
    given for each of its slots; the others wait with the coordinators.
    """

    sweep_s: float = 2.0
    home: str = ""
    groups: str = ""
    queue_limit: int = 10_000
    user_limit: int = 1_000
    user_bytes: str = USER_BYTES
    user_spans: int = USER_SPANS
    shares: str = ""
    ahead: int = AHEAD


class Coordinator(Service):
    """One of any number of coordinators: it keeps nothing that is not in a bucket."""

    name = "coordinator"

    def __init__(self, bus: Bus, settings: Settings | None = None) -> None:
        super().__init__()
        self._bus, self._settings = bus, settings or Settings()
        self._registry, self._board = Registry(), Board()
        groups = Groups(self._settings.groups)
        self._shelf = Shelf(self.counters, Zoo(zoo_folder(self._settings.home)), groups.of)
        self._catalog = self._shelf.catalog
        self._datasets = DatasetShelf(self.counters, groups.of)
        self._ran = Ran()
        seen = self._registry, self._ran
        self._attempts = Attempts(bus, self._board, seen, self.counters)
        self._attempts.ahead = max(1, self._settings.ahead)
        known = self._catalog, self._datasets.known
        self._sweep = Sweep(self._attempts, self._board, self._registry, known)
        self._bounds = Bounds(self._settings.queue_limit, self._settings.user_limit)
        self._stored = Stored(read_most(self._settings.user_bytes, self._settings.user_spans))
        self._shares = read_shares(self._settings.shares)
        self._answers = Answers(self._registry, self._board, self._ran, *known, shares=self._shares)
        self._releasing = Releasing(self._attempts, self._board, self._registry, self._shares)
        self._watches: list[Watch] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._facts: Consumer | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._clock = ClockWatch(bus)
        self._wake = asyncio.Event()
        self._ending = asyncio.Event()
        self._stopping = False
        self._describing = asyncio.Lock()
        self._described: tuple[float, SystemDescribed | None] = (0.0, None)

    # ---------------------------------------------------------------- life

    async def start(self) -> None:
        """Learn what there is, then begin to answer."""
        await self._shelf.start(self._bus)
        await self._datasets.start(self._bus)
        await self._board.start(self._bus)
        await self._stored.start(self._bus)
        await self._ran.start(self._bus)
        for name, seen in (
            (subjects.NODES_BUCKET, self._saw_node),
            (subjects.ALIVE_BUCKET, self._saw_heartbeat),
        ):
            bucket = await self._bus.bucket(name)
            self._watches.append(await bucket.watch(seen))
        await self._bus.serve(
            self.name,
            {
                subjects.EVALUATE: self._evaluate,
                subjects.CANCEL: self._cancel,
                subjects.TOLD: self._told,
                subjects.FITS: self._up_to_date(Fits, self._answers.fits),
                subjects.NODES: _answering(ListNodes, self._answers.nodes),
                subjects.QUEUE: _answering(ListQueue, self._answers.queue),
                subjects.MODELS: self._up_to_date(ListModels, self._answers.models),
                subjects.DATASETS: self._up_to_date(ListDatasets, self._answers.datasets),
                subjects.PUBLISH: self._publish,
                subjects.UNPUBLISH: self._unpublish,
                subjects.OPEN: self._open,
                subjects.SYSTEM: self._describe,
            },
            lambda: about(self),
        )
        # After serve(): its round trip tells that the server has our subscriptions by now.
        kinds = [subjects.facts_of_kind(kind.__name__) for kind in (JobFinished, JobFailed)]
        self._facts = await self._bus.consume(
            subjects.FACTS_STREAM,
            subjects.COORDINATOR_FACTS,
            kinds,
            self._heard,
            ack_wait_s=ACK_WAIT_S,
        )
        self._releasing.start()
        self._sweeper = asyncio.create_task(self._keep_sweeping())

    async def stop(self) -> None:
        """Finish what is in hand, take nothing new."""
        sweeper, self._sweeper = self._sweeper, None
        self._stopping = True
        self._wake.set()
        self._ending.set()
        if sweeper is not None:
            # Not cancelled: that could fall between a record and what is said of it.
            await asyncio.wait([sweeper])
        await self._releasing.stop()
        if self._facts is not None:
            await self._facts.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        for watch in self._watches:
            await watch.stop()
        await self._board.stop()
        await self._stored.stop()
        await self._ran.stop()
        await self._shelf.stop()
        await self._datasets.stop()

    def not_ready(self) -> str:
        """Why nothing can be asked of it now, or nothing."""
        if self._sweeper is None:
            return "not started, or stopped"
        return "" if self._bus.connected else f"the bus at {self._bus.url} is not connected"

    def status(self) -> dict[str, object]:
        """Nodes, jobs by state, and what waits for each node."""
        return {
            "nodes": [node.node_id for node in self._registry.alive()],
            "models": len(self._shelf),
            "jobs": self._board.states(),
            "queues": dict(self._board.outstanding),
            "held": {node_id: len(held) for node_id, held in self._board.held.items()},
        }

    async def _keep_sweeping(self) -> None:
        while not self._stopping:
            try:
                await asyncio.wait_for(self._wake.wait(), self._settings.sweep_s)
            except TimeoutError:
                pass
            self._wake.clear()
            if self._stopping:
                return
            try:
                await self._sweep.run()
                self._releasing.wake()
            except Exception:
                # Whatever it was: the next sweep looks at everything again.
                self.counters["failed_sweeps"] += 1
                log.exception("sweep failed")

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it after the answer has gone out; stop() waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---------------------------------------------------------------- what is seen

    def _saw_node(self, key: str, message: Message | None, _: int) -> None:
        node = message if isinstance(message, NodeAnnounced) else None
        self._releasing.wake()
        if self._sweep.gone(self._registry.announced(key, node)):
            self._wake.set()

    def _saw_heartbeat(self, key: str, message: Message | None, _: int) -> None:
        if isinstance(message, NodeAlive):
            gone = self._registry.heard(key, message.incarnation)
        else:
            gone = self._registry.silent(key)
        if self._sweep.gone(gone):
            self._wake.set()

    async def _heard(self, batch: list[Received]) -> None:
        await asyncio.gather(*(self._heard_one(received) for received in batch))

    async def _heard_one(self, received: Received) -> None:
        try:
            if why := forged(received.subject, received.message):
                self.counters["forged"] += 1
                log.warning("not taken", extra={"subject": received.subject, "error": why})
            elif isinstance(received.message, JobFinished | JobFailed):
                await self._attempts.heard(received.message)
                self._releasing.wake()
        except BusError as exc:
            log.warning("fact put back", extra={"subject": received.subject, "error": str(exc)})
            await received.nak(1.0)
            return
        await received.ack()

    # ---------------------------------------------------------------- what is asked

    async def _evaluate(self, request: Message) -> Message:
        if not isinstance(request, Evaluate):
            return _not("Evaluate", request)
        began_ns = time.time_ns()
        self.counters["requests"] += 1
        plan = self._admitted(request)
        if isinstance(plan, Refused) and plan.kind in NOT_KNOWN:
            await self._catch_up()
            plan = self._admitted(request)
        if isinstance(plan, Plan):
            plan = self._bounds.refuse(request, len(plan.choices), self._board) or plan
        if isinstance(plan, Plan):
            plan = await self._weighed(request, plan)
        if isinstance(plan, Refused):
            # What was accepted stays accepted, even if nothing would fit it now.
            known = None
            if plan.kind != "bad_request":
                known = await self._board.evaluation(request.evaluation_id)
            if known is not None:
                return accepted(known)
            self.counters["refused"] += 1
            return plan
        record, published = await self._attempts.place(request, plan, began_ns)
        if published is not None:
            self._later(self._after_placing(record, published, (began_ns, time.time_ns())))
        return accepted(record)

    def _admitted(self, request: Evaluate) -> Plan | Refused:
        outlooks = self._attempts.outlooks
        return admit(request, self._catalog, self._registry, outlooks, self._datasets.known)

    async def _catch_up(self) -> None:
        """Know what was published before now, whichever coordinator said that it was done."""
        await asyncio.gather(self._shelf.caught_up(), self._datasets.caught_up())

    def _up_to_date(self, kind: type[Q], answer: Callable[[Q], Message]) -> Handler:
        """Answers from what is known once everything that was published is."""
        at_hand = _answering(kind, answer)

        async def answered(request: Message) -> Message:
            await self._catch_up()
            return await at_hand(request)

        return answered

    async def _weighed(self, request: Evaluate, plan: Plan) -> Plan | Refused:
        """A plan with the sizes of its inputs, or why its user may hold no more."""
        plan = replace(plan, objects=await self._stored.objects(request.inputs))
        return self._stored.refuse(request, plan.objects, self._board.inputs) or plan

    async def _after_placing(
        self, record: EvaluationRecord, published: list[str], times_ns: tuple[int, int]
    ) -> None:
        request, (began_ns, placed_ns) = record.request, times_ns
        try:
            if LEVELS.index(request.level) >= APPLICATION:
                await self._clock.refresh()
                spans = route_span(record, began_ns, placed_ns, self._clock.latest)
                subject = subjects.span("coordinator", request.user, request.evaluation_id)
                dedupe = f"{request.evaluation_id}.route"
                await self._bus.record(subject, spans, dedupe=dedupe)
            await self._mark_published(published)
        except BusError as exc:
            # The sweep publishes again what is not marked; a span less is said by its absence.
            self.counters["unmarked"] += 1
            log.warning("not marked", extra={"id": request.evaluation_id, "error": str(exc)})

    async def _mark_published(self, job_ids: list[str]) -> None:
        """Write down that jobs lie in their queues, where a node has not begun with them by then.

        A node that begins at once writes to the same record: a mark would only make it try twice.
        """
        try:
            await asyncio.wait_for(self._ending.wait(), MARK_S)
        except TimeoutError:
            pass
        for job_id in job_ids:
            seen = self._board.jobs.get(job_id)
            if seen is not None and seen.record.state == "queued":
                await self._attempts.mark_published(job_id, 1)

    async def _describe(self, request: Message) -> Message:
        if not isinstance(request, DescribeSystem):
            return _not("DescribeSystem", request)
        async with self._describing:
            at_s, described = self._described
            if described is None or time.monotonic() - at_s > DESCRIBED_S:
                described = await self._bus.describe()
                self._described = time.monotonic(), described
        return described

    async def _cancel(self, request: Message) -> Message:
        if not isinstance(request, Cancel):
            return _not("Cancel", request)
        evaluation_id = request.evaluation_id
        record = await self._board.evaluation(evaluation_id) if evaluation_id.isalnum() else None
        if record is None:
            text = f"there is no evaluation {evaluation_id[:40]!r}: expected the whole id of one"
            return Refused(evaluation_id=evaluation_id, kind="bad_request", text=text)
        if record.request.user != request.user:
            text = f"evaluation {evaluation_id} is {record.request.user}'s: expected its owner"
            return Refused(evaluation_id=evaluation_id, kind="forbidden", text=text)
        if record.state == "running":
            await self._attempts.cancel(record, f"cancelled by {request.user}")
            self._releasing.wake()
            record = await self._board.evaluation(evaluation_id) or record
            if record.state == "cancelled":
                return Done(text=f"evaluation {evaluation_id} is cancelled")
        return Done(text=f"evaluation {evaluation_id} was {record.state} already")

    async def _told(self, request: Message) -> Message:
        if not isinstance(request, ListFacts):
            return _not("ListFacts", request)
        name = request.evaluation_id
        if not name.isalnum():
            return Facts(facts=[])
        subject = subjects.facts_of(name, request.user)
        told = await self._bus.replay(subjects.FACTS_STREAM, subject)
        return page_of(told, max(request.first, 0))

    async def _publish(self, request: Message) -> Message:
        if not isinstance(request, Publish):
            return _not("Publish", request)
        if (request.manifest is None) == (request.dataset is None):
            text = "expected a model's manifest, or a dataset's: one of the two"
            return Refused(kind="bad_request", text=text)
        if request.dataset is not None:
            return await self._datasets.publish(request)
        return await self._shelf.publish(request)

    async def _unpublish(self, request: Message) -> Message:
        if not isinstance(request, Unpublish):
            return _not("Unpublish", request)
        if request.dataset:
            return await self._datasets.unpublish(request)
        return await self._shelf.unpublish(request)

    async def _open(self, request: Message) -> Message:
        if not isinstance(request, Open):
            return _not("Open", request)
        self.counters["opens"] += 1
        known = self._bus, self._catalog, self._registry, self._attempts.outlooks
        opened = await open_model(request, *known)
        if isinstance(opened, Refused) and opened.kind in NOT_KNOWN:
            await self._catch_up()
            opened = await open_model(request, *known)
        return opened


def _answering(kind: type[Q], answer: Callable[[Q], Message]) -> Handler:
    async def answered(request: Message) -> Message:
        return answer(request) if isinstance(request, kind) else _not(kind.__name__, request)

    return answered


def _not(expected: str, got: Message) -> Undecodable:
    return Undecodable(text=f"expected {expected}, got {type(got).__name__}")


def page_of(told: list[Message], first: int) -> Facts:
    """The facts from number `first` on, as many as fit into a message."""
    page: list[bytes] = []
    size = 0
    for number, fact in enumerate(told[first:], first):
        data = encode(fact)
        if page and size + len(data) > PAGE_BYTES:
            return Facts(facts=page, next_first=number)
        page.append(data)
        size += len(data)
    return Facts(facts=page)
