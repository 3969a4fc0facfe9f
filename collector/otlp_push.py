"""Pushes assembled timelines as OTLP over HTTP: to this collector's endpoint, and to callers'.

A caller's endpoint is used only where the settings allow its host. Nothing here is waited for:
what cannot be delivered is tried again for a while, then dropped, counted and said.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any, NamedTuple

import aiohttp

from bus import codec
from bus.caller_trace import ADDRESS, allowed, read_hosts, read_traceparent, traces_url
from bus.errors import InputError, MLModelScopeError, StoreError
from bus.messages import TimelineChunk
from collector.otlp import otlp_requests, rejected_spans, require_protobuf
from collector.store import Store
from collector.timeline import Timeline

log = logging.getLogger(__name__)

Document = dict[str, Any]

MOST_WAITING = 1_000
AT_ONCE = 4
"""Timelines on their way at a time: one endpoint that is away must not hold up the others."""
TRIES = 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
REQUEST_S = 10.0
AGAIN = (429, 502, 503, 504)
"""The answers after which OTLP wants the same request again; any other failure is final."""
ANSWER_BYTES = 64 * 1024


class Delivery(NamedTuple):
    """One timeline to one address."""

    evaluation: Document
    url: str


class _Failed(Exception):
    """A request that will not succeed, or has not within its tries."""


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
        whose = {"_id": evaluation["_id"], "pushed": {"$ne": True}}
        if not await self._store.claim("evaluations", whose, {"$set": {"pushed": True}}):
            return
        if asked and not allowed(asked, self._places):
            self._counters["otlp_refused"] += 1
            self._last_failure = f"{traces_url(asked) or 'an address'} is not in MLMS_OTLP_ALLOW"
            log.warning("otlp endpoint refused: %s", self._last_failure, extra=_of(evaluation))
        for url in urls:
            try:
                self._waiting.put_nowait(Delivery(evaluation, url))
            except asyncio.QueueFull:
                self._drop(Delivery(evaluation, url), f"{MOST_WAITING} timelines wait already")

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
        """Send what is offered, until stopped."""
        # No redirects and no proxies of the environment: the settings allowed a host, not others.
        timeout = aiohttp.ClientTimeout(total=REQUEST_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            senders = [asyncio.create_task(self._send_all(session)) for _ in range(AT_ONCE)]
            await self._stopping.wait()
            await asyncio.gather(*senders)
        while not self._waiting.empty():
            await self._put_back(self._waiting.get_nowait())

    async def _send_all(self, session: aiohttp.ClientSession) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        while not self._stopping.is_set():
            taking = asyncio.create_task(self._waiting.get())
            await asyncio.wait([taking, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                taking.cancel()
                return
            await self._send(session, taking.result())

    async def _send(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        """One timeline, piece by piece; the first piece that fails ends it."""
        sent = total = 0
        try:
            timeline = await self._timeline(delivery.evaluation["_id"])
            total = len(timeline)
            requests = otlp_requests(timeline, delivery.evaluation.get("traceparent", ""))
            while (request := await asyncio.to_thread(next, requests, None)) is not None:
                spans, body = request
                answer = await self._post(session, delivery.url, body)
                rejected = min(rejected_spans(answer), spans)
                self._counters["otlp_spans_rejected"] += rejected
                self._counters["otlp_spans_sent"] += spans - rejected
                sent += spans
            self._counters["otlp_sent"] += 1
        except Exception as exc:  # whatever is wrong with one timeline, the next one is sent
            if not isinstance(exc, _Failed | MLModelScopeError):
                log.exception("a timeline could not be pushed", extra=_of(delivery.evaluation))
            self._counters["otlp_spans_dropped"] += total - sent
            self._drop(delivery, str(exc) or repr(exc))

    async def _timeline(self, evaluation_id: str) -> Timeline:
        for _ in range(3):
            head = await self._store.one("timelines", {"_id": evaluation_id})
            if head is None:
                break
            which = {"evaluation_id": evaluation_id, "assembly": head["assembly"]}
            found = await self._store.find("chunks", which, sort=[("chunk", 1)], fields=["data"])
            if len(found) == head["chunks"]:  # else it was assembled again between the two
                return await asyncio.to_thread(_read, [document["data"] for document in found])
        raise _Failed("its timeline was deleted meanwhile")

    async def _post(self, session: aiohttp.ClientSession, url: str, body: bytes) -> bytes:
        """Post until it is taken; what the receiver answered."""
        headers = {"Content-Type": "application/x-protobuf", "User-Agent": "mlmodelscope"}
        for attempt in range(TRIES):
            wait_s = FIRST_PAUSE_S * 2**attempt
            try:
                async with session.post(
                    url, data=body, headers=headers, allow_redirects=False
                ) as answer:
                    if 200 <= answer.status < 300:
                        return await answer.content.read(ANSWER_BYTES)
                    why = f"{url} answered {answer.status}"
                    if answer.status not in AGAIN:
                        raise _Failed(why)
                    wait_s = max(wait_s, _seconds(answer.headers.get("Retry-After", "")))
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
                why = f"{url}: {exc or 'no answer in time'}"
            last = attempt == TRIES - 1
            if last or await self._stopped_within(min(wait_s, LONGEST_PAUSE_S)):
                break
            self._counters["otlp_retries"] += 1
        raise _Failed(f"{why}, {attempt + 1} times")

    def _drop(self, delivery: Delivery, why: str) -> None:
        self._counters["otlp_dropped"] += 1
        self._last_failure = why
        log.warning("timeline not pushed: %s", why, extra=_of(delivery.evaluation))

    async def _put_back(self, delivery: Delivery) -> None:
        """Stopping: the next collector that looks assembles it again, and pushes it."""
        again = {"$set": {"pushed": False, "due": 1}}
        try:
            await self._store.claim("evaluations", {"_id": delivery.evaluation["_id"]}, again)
        except StoreError as exc:
            self._drop(delivery, str(exc))

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


def _seconds(text: str) -> float:
    """A Retry-After in seconds; a date is not waited for."""
    return float(text) if text.isdecimal() else 0.0
