"""A durable pull consumer with a loop of its own: nats-py's fetch is several times slower."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api

from bus import subjects
from bus.codec import decode
from bus.errors import MLModelScopeError, ProtocolError
from bus.messages import Message

log = logging.getLogger(__name__)

EXPIRES_S = 30.0
HEARTBEAT_S = 3.0
SILENCE_S = 10.0
"""Silence, heartbeats included, after which the server has forgotten our pull: ask again."""
MAX_REASON = 400
MOST_DELIVERIES = 5
"""A message on which the handler has failed so often is set aside."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message from a stream, to be acknowledged when it has been dealt with."""

    subject: str
    message: Message
    data: bytes
    sequence: int
    deliveries: int
    _msg: Msg
    _bury: Callable[[Msg, str], Awaitable[None]]

    async def ack(self) -> None:
        """Dealt with: never deliver it again."""
        await self._msg.ack()

    async def nak(self, delay_s: float = 0.0) -> None:
        """Not dealt with: deliver it again, after `delay_s`."""
        await self._msg.nak(delay=delay_s or None)

    async def bury(self, reason: str) -> None:
        """Nobody can deal with it: set it aside for people to look at. It is still to be acked."""
        await self._bury(self._msg, reason)

    async def in_progress(self) -> None:
        """Being dealt with: do not give it to another yet."""
        await self._msg.in_progress()


def not_republished(headers: Mapping[str, str] | None) -> None:
    """ProtocolError where a server says it: this is a stored message, sent to a reply subject.

    Who may read a stream could have it answer on a subject where it may not speak itself.
    """
    if headers and "Nats-Stream" in headers:
        raise ProtocolError(f"republished from the stream {headers['Nats-Stream']}")


class Consumer:
    """Pulls, decodes and hands on batches; at most `batch` messages wait here."""

    def __init__(
        self,
        client: Client,
        js: JetStreamContext,
        stream: str,
        durable: str,
        handler: Callable[[list[Received]], Awaitable[None]],
        batch: int,
        counters: Counter[str],
    ) -> None:
        self._client, self._js = client, js
        self._stream, self._durable = stream, durable
        self._handler, self._batch, self._counters = handler, batch, counters
        self._arrived: deque[Msg] = deque()
        self._wake = asyncio.Event()
        self._credit = 0
        self._failed: set[int] = set()
        self._stopping = False

    async def forget(self) -> None:
        """Remove what the server remembers of a consumer of this name."""
        try:
            await self._js.delete_consumer(self._stream, self._durable)
        except nats.js.errors.NotFoundError:
            pass

    async def start(self, filters: list[str], ack_wait_s: float) -> None:
        """Create the consumer if it is not there, and begin."""
        config = api.ConsumerConfig(
            name=self._durable,  # with it, the filter stands in the subject, for permissions
            durable_name=self._durable,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=ack_wait_s,
            max_ack_pending=max(1000, 4 * self._batch) if self._batch > 1 else 1,
            filter_subjects=filters if len(filters) > 1 else None,
            filter_subject=filters[0] if len(filters) == 1 else None,
        )
        await self._js.add_consumer(self._stream, config)
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(self._inbox, cb=self._take)
        self._task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        """Finish the batch in hand; what was delivered and not handled goes back."""
        if self._stopping:
            return
        self._stopping = True
        self._wake.set()
        await asyncio.wait([self._task])
        if self._client.is_connected:
            await self._subscription.unsubscribe()
            for msg in self._arrived:
                await msg.nak()

    def renew(self) -> None:
        """The connection was lost and is back: the server has forgotten our pull."""
        self._credit = 0
        self._wake.set()

    async def _take(self, msg: Msg) -> None:
        status = (msg.headers or {}).get("Status")
        if status is None:
            self._credit = max(0, self._credit - 1)
            self._arrived.append(msg)
        elif status != "100":  # 100 is a heartbeat; all others end the pull
            self._credit = 0
            if status not in ("404", "408"):
                log.info("pull ended", extra={"durable": self._durable, "status": status})
        self._wake.set()

    async def _pull(self) -> None:
        count = self._batch - len(self._arrived)
        ask = {
            "batch": count,
            "expires": int(EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}"
        await self._client.publish(subject, json.dumps(ask).encode(), reply=self._inbox)
        self._credit = count

    async def _loop(self) -> None:
        while not self._stopping:
            try:
                await self._turn()
            except (nats.errors.Error, OSError) as exc:
                log.info("pull failed", extra={"durable": self._durable, "error": repr(exc)})
                await asyncio.sleep(0.5)

    async def _turn(self) -> None:
        if not self._arrived:
            if self._credit == 0:
                await self._pull()
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), SILENCE_S)
            except TimeoutError:
                self._credit = 0
            return
        msgs = [self._arrived.popleft() for _ in range(min(self._batch, len(self._arrived)))]
        if self._credit == 0 and self._batch > 1:
            await self._pull()  # the next batch travels while this one is worked on
        received = [r for msg in msgs if (r := await self._read(msg)) is not None]
        # What has failed comes alone: one that nobody can deal with must not keep others back.
        together = [one for one in received if one.sequence not in self._failed]
        for batch in (together, *([one] for one in received if one.sequence in self._failed)):
            if batch:
                await self._handle(batch)

    async def _handle(self, received: list[Received]) -> None:
        try:
            await self._handler(received)
        except Exception as exc:
            log.exception("batch failed", extra={"durable": self._durable})
            self._counters["failed_batches"] += 1
            await self._put_back(received, exc)
        else:
            self._failed.difference_update(one.sequence for one in received)

    async def _put_back(self, received: list[Received], fault: Exception) -> None:
        """Have them again in a moment; what has failed by itself again and again is set aside."""
        for message in received:
            # Ours are of what is not there now; any other fault is of the message, or of our code.
            ours = isinstance(fault, MLModelScopeError)
            if len(received) == 1 and not ours and message.deliveries >= MOST_DELIVERIES:
                name = type(fault).__name__
                await message.bury(f"failed {message.deliveries} times, last: {name}: {fault}")
                await message.ack()
                self._failed.discard(message.sequence)
            else:
                self._failed.add(message.sequence)
                await message.nak(1.0)

    async def _read(self, msg: Msg) -> Received | None:
        try:
            not_republished(msg.headers)
            message = decode(msg.data)
        except ProtocolError as exc:
            await self._bury(msg, str(exc))
            await msg.ack()
            return None
        meta = msg.metadata
        return Received(
            msg.subject,
            message,
            msg.data,
            meta.sequence.stream,
            meta.num_delivered,
            msg,
            self._bury,
        )

    async def _bury(self, msg: Msg, reason: str) -> None:
        """Set a message aside, with the reason; it never stops a stream."""
        headers = {
            "Mlms-Reason": " ".join(reason.split())[:MAX_REASON],
            "Mlms-Consumer": self._durable,
            # Two consumers of one stream may both fail on it, and each of them twice.
            "Nats-Msg-Id": f"{self._stream}.{msg.metadata.sequence.stream}",
        }
        await self._js.publish(subjects.dead(msg.subject), msg.data, headers=headers)
        self._counters["dead_letters"] += 1
