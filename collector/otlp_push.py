"""Pushes assembled timelines as OTLP over HTTP: to this collector's endpoint, and to callers'.

A caller's endpoint is used only where the settings allow its host. Nothing here is waited for:
what cannot be delivered is tried again for a while, then dropped, counted and said. What is still
to be pushed stands in the database (otlp_marks.py), never only in here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any, NamedTuple

import aiohttp

from bus import codec
from bus.caller_trace import (
    ADDRESS,
    allowed,
    metrics_url,
    read_hosts,
    read_traceparent,
    traces_url,
)
from bus.errors import InputError, MLModelScopeError, StoreError
from bus.messages import MetricsRecorded, TimelineChunk
from collector.otlp import otlp_requests, rejected_spans, require_protobuf
from collector.otlp_marks import RENEW_S, Marks
from collector.otlp_metrics import otlp_metrics_protobuf
from collector.otlp_post import REQUEST_S, Poster, PostFailedError
from collector.records import winning_attempts
from collector.store import Store
from collector.timeline import Timeline

log = logging.getLogger(__name__)

Document = dict[str, Any]

MOST_WAITING = 1_000
AT_ONCE = 4
"""Timelines on their way at a time: one endpoint that is away must not hold up the others."""
LOOK_S = 5.0
"""How often the database is asked what another collector has left behind."""
NO_METRICS = (404, 405, 415, 501)
"""The answers of an endpoint that takes spans and no samples."""


class Delivery(NamedTuple):
    """One timeline to one address."""

    evaluation: Document
    url: str


class OtlpPush:
    """A bounded queue of timelines, and the tasks that send them."""

    def __init__(self, store: Store, counters: Counter[str], endpoint: str, allow: str) -> None:
        self._store, self._counters = store, counters
        self._own = traces_url(endpoint)
        if endpoint and not self._own:
            raise InputError(f"MLMS_OTLP_ENDPOINT: expected {ADDRESS}")
        self._places = read_hosts(allow)
        if self._own or self._places:
            require_protobuf()
        self._waiting: asyncio.Queue[Delivery] = asyncio.Queue(MOST_WAITING)
        self._stopping = asyncio.Event()
        self._last_failure = ""
        self._marks = Marks(store)
        self._in_hand: Counter[str] = Counter()
        """Addresses of an evaluation that wait here, or are being sent to."""

    def targets(self, evaluation: Document) -> list[str]:
        """Where an evaluation's spans go: nowhere when its caller's trace is not recorded."""
        caller = read_traceparent(evaluation.get("traceparent", ""))
        if caller is not None and not caller.sampled:
            return []
        asked = evaluation.get("otlp_endpoint", "")
        theirs = traces_url(asked) if allowed(asked, self._places) else ""
        return [url for url in dict.fromkeys((self._own, theirs)) if url]

    async def offer(self, evaluation: Document) -> None:
        """Take an evaluation whose timeline is assembled; once, whoever else assembles it too."""
        asked, urls = evaluation.get("otlp_endpoint", ""), self.targets(evaluation)
        if not (asked or urls):
            return
        if not await self._marks.claim(evaluation, urls):
            return
        if asked and not allowed(asked, self._places):
            self._counters["otlp_refused"] += 1
            self._last_failure = f"{traces_url(asked) or 'an address'} is not in MLMS_OTLP_ALLOW"
            log.warning("otlp endpoint refused: %s", self._last_failure, extra=_of(evaluation))
        await self._take(evaluation, urls)

    async def _take(self, evaluation: Document, urls: list[str]) -> None:
        for url in urls:
            delivery = Delivery(evaluation, url)
            try:
                self._waiting.put_nowait(delivery)
                self._in_hand[evaluation["_id"]] += 1
            except asyncio.QueueFull:
                self._drop(delivery, f"{MOST_WAITING} timelines wait already")
                await self._marks.settle(evaluation["_id"], url)

    def stop(self) -> None:
        """Let `run` end after the requests that are on their way."""
        self._stopping.set()

    def status(self) -> dict[str, object]:
        """What is shown at /status, beside the counters."""
        return {
            "endpoint": self._own,
            "waiting": self._waiting.qsize(),
            "last_failure": self._last_failure,
        }

    async def run(self) -> None:
        """Send what is offered, and what others have left behind, until stopped."""
        # No redirects and no proxies of the environment: the settings allowed a host, not others.
        timeout = aiohttp.ClientTimeout(total=REQUEST_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            posters = [Poster(session, self._stopping) for _ in range(AT_ONCE)]
            tasks = [asyncio.create_task(self._send_all(poster)) for poster in posters]
            tasks.append(asyncio.create_task(self._look()))
            await self._stopping.wait()
            await asyncio.gather(*tasks)
        for evaluation_id in list(self._in_hand):
            try:
                await self._marks.release(evaluation_id)
            except StoreError as exc:
                log.warning("another collector takes it over later: %s", exc)

    async def _look(self) -> None:
        """Answer for what is in hand; take over what nobody answers for."""
        renewed_s = asyncio.get_running_loop().time()
        while not self._stopping.is_set():
            now_s = asyncio.get_running_loop().time()
            try:
                if now_s - renewed_s >= RENEW_S:
                    await self._marks.renew(list(self._in_hand))
                    renewed_s = now_s
                if self._own or self._places:
                    for evaluation, urls in await self._marks.left_behind():
                        self._counters["otlp_taken_over"] += 1
                        await self._take(evaluation, urls)
            except MLModelScopeError as exc:
                log.warning("what is to be pushed waits: %s", exc)
            await self._stopped_within(LOOK_S)

    async def _send_all(self, poster: Poster) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        while not self._stopping.is_set():
            taking = asyncio.create_task(self._waiting.get())
            await asyncio.wait([taking, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                taking.cancel()
                return
            await self._deliver(poster, taking.result())

    async def _deliver(self, poster: Poster, delivery: Delivery) -> None:
        """One timeline to one address; while stopping, what failed is left to another collector."""
        done = await self._send(poster, delivery)
        name = delivery.evaluation["_id"]
        if not done and self._stopping.is_set():
            return
        try:
            await self._marks.settle(name, delivery.url)
        except StoreError as exc:
            log.warning("it may be pushed again: %s", exc, extra=_of(delivery.evaluation))
        self._in_hand[name] -= 1
        self._in_hand += Counter()  # those of which nothing is in hand are let go

    async def _send(self, poster: Poster, delivery: Delivery) -> bool:
        """One timeline, piece by piece, and its samples; the first piece that fails ends it."""
        sent = total = 0
        before = poster.retries
        try:
            timeline = await self._timeline(delivery.evaluation["_id"])
            total = len(timeline)
            requests = otlp_requests(timeline, delivery.evaluation.get("traceparent", ""))
            while (request := await asyncio.to_thread(next, requests, None)) is not None:
                spans, body = request
                answer = await poster.post(delivery.url, body)
                rejected = min(rejected_spans(answer), spans)
                self._counters["otlp_spans_rejected"] += rejected
                self._counters["otlp_spans_sent"] += spans - rejected
                sent += spans
            await self._send_samples(poster, delivery)
            self._counters["otlp_sent"] += 1
        except Exception as exc:  # whatever is wrong with one timeline, the next one is sent
            if not isinstance(exc, PostFailedError | MLModelScopeError):
                log.exception("a timeline could not be pushed", extra=_of(delivery.evaluation))
            if not self._stopping.is_set():
                self._counters["otlp_spans_dropped"] += total - sent
                self._drop(delivery, str(exc) or repr(exc))
            return False
        finally:
            self._counters["otlp_retries"] += poster.retries - before
        return True

    async def _send_samples(self, poster: Poster, delivery: Delivery) -> None:
        """The samples beside a timeline, where the endpoint takes any."""
        if not (url := metrics_url(delivery.url)):
            return
        metrics = await self._samples(delivery.evaluation)
        bodies = otlp_metrics_protobuf(metrics, delivery.evaluation.get("traceparent", ""))
        try:
            while (body := await asyncio.to_thread(next, bodies, None)) is not None:
                await poster.post(url, body)
                self._counters["otlp_metric_requests_sent"] += 1
        except PostFailedError as exc:
            if exc.status not in NO_METRICS:
                raise
            self._counters["otlp_metrics_not_taken"] += 1

    async def _samples(self, evaluation: Document) -> list[MetricsRecorded]:
        """The winning attempts' samples."""
        found = await self._store.find("metrics", {"evaluation_id": evaluation["_id"]})
        winners = winning_attempts(evaluation, [one for one in found if one["job_id"]])
        return [
            codec.decode_as(one["data"], MetricsRecorded)
            for one in found
            if one["attempt"] == winners.get(one["job_id"], one["attempt"])
        ]

    async def _timeline(self, evaluation_id: str) -> Timeline:
        for _ in range(3):
            head = await self._store.one("timelines", {"_id": evaluation_id})
            if head is None:
                break
            which = {"evaluation_id": evaluation_id, "assembly": head["assembly"]}
            found = await self._store.find("chunks", which, sort=[("chunk", 1)], fields=["data"])
            if len(found) == head["chunks"]:  # else it was assembled again between the two
                return await asyncio.to_thread(_read, [document["data"] for document in found])
        raise PostFailedError("its timeline was deleted meanwhile")

    def _drop(self, delivery: Delivery, why: str) -> None:
        self._counters["otlp_dropped"] += 1
        self._last_failure = why
        log.warning("timeline not pushed: %s", why, extra=_of(delivery.evaluation))

    async def _stopped_within(self, pause_s: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), pause_s)
        except TimeoutError:
            return False
        return True


def _read(chunks: list[bytes]) -> Timeline:
    return Timeline.from_chunks(codec.decode_as(data, TimelineChunk) for data in chunks)


def _of(evaluation: Document) -> dict[str, str]:
    return {"evaluation_id": evaluation["_id"]}
