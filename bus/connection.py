"""Bus: one process's connection to NATS; messages in, messages out, foreign errors mapped.

nats-py is used here, in consumer.py and in buckets.py, and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, overload
from urllib.parse import urlsplit

import nats
import nats.errors
import nats.js.errors
import nats.micro
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription
from nats.js import JetStreamContext

from bus import subjects
from bus.buckets import FULL_CODES, Bucket, Objects, patiently
from bus.codec import decode, encode
from bus.consumer import Consumer, Received, not_republished
from bus.dead_letters import DeadLetters
from bus.errors import (
    BusError,
    BusFullError,
    ForbiddenError,
    MLModelScopeError,
    NoAnswerError,
    ProtocolError,
    ServiceError,
)
from bus.identity import ANONYMOUS, NOBODY, Identity
from bus.messages import Failed, Message, SystemDescribed, Undecodable, asker_of
from bus.system import services_seen, streams_seen
from bus.topology import ensure

A = TypeVar("A", bound=Message)
B = TypeVar("B", bound=Message)
About = Callable[[], dict[str, object]]
Handler = Callable[[Message], Awaitable[Message]]
Listener = Callable[[str, Message], Awaitable[None]]
BatchHandler = Callable[[list[Received]], Awaitable[None]]

log = logging.getLogger(__name__)

CONNECT_S = 5.0
RECONNECT_S = 0.1
ASKED_BY: ContextVar[str] = ContextVar("asked_by", default=ANONYMOUS)
"""Within a handler: whose request is being answered, as the bus let it be said."""
WINDOW = 256
"""How many pipelined records may wait for their acknowledgement at once."""


class Bus:
    """A connection, with the few ways of speaking that the system uses."""

    def __init__(self, client: Client, url: str, name: str, identity: Identity) -> None:
        self.url, self.name, self.user = url, name, identity.user
        self.counters: Counter[str] = Counter()
        self._client = client
        self._secured = bool(identity.seed)
        self._denials: dict[str, asyncio.Future[Msg]] = {}
        self._refusal: Exception | None = None
        self._refused = asyncio.Event()
        self._js = _JetStream(client, timeout=10.0, publish_async_max_pending=WINDOW)
        self._consumers: list[Consumer] = []
        self._micro: list[nats.micro.Service] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def connect(
        cls, url: str, *, name: str, patience_s: float = 0.0, identity: Identity = NOBODY
    ) -> Bus:
        """Connect to the NATS server at `url`; a service may be patient while it comes up.

        Raises BusError naming the address and what to do.
        """
        client = Client()
        bus = cls(client, url, name, identity)
        try:
            servers = url.split(",")
            await _someone_listens(servers, patience_s)
            await bus._connect(servers, identity)
        except (OSError, nats.errors.Error, TimeoutError, ValueError) as exc:
            if isinstance(bus._refusal, ssl.SSLError):
                raise ForbiddenError(_not_trusted(url, bus._refusal)) from exc
            if bus._refusal is not None:
                raise ForbiddenError(_not_let_in(url, identity)) from exc
            raise BusError(
                f"cannot reach the bus at {url} ({exc or type(exc).__name__}): is nats-server "
                "running there? Without --bus and MLMS_BUS_URL an embedded one is used; "
                "`mlmodelscope up` keeps one running on this machine"
            ) from exc
        return bus

    async def _connect(self, servers: list[str], identity: Identity) -> None:
        """Connect, once and for all: nats-py itself tries on for ever, also where it is refused."""
        connecting = asyncio.ensure_future(
            self._client.connect(
                servers,
                name=self.name,
                connect_timeout=2,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_S,  # type: ignore[arg-type]
                ping_interval=20,
                error_cb=self._heard_error,
                disconnected_cb=self._lost,
                reconnected_cb=self._regained,
                **identity.options(),
            )
        )
        refused = asyncio.ensure_future(self._refused.wait())
        both = [connecting, refused]
        await asyncio.wait(both, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
        refused.cancel()
        if connecting.done():
            connecting.result()
            return
        connecting.cancel()
        await self._client.close()
        raise self._refusal or TimeoutError

    @property
    def connected(self) -> bool:
        """Whether the connection stands now."""
        return self._client.is_connected

    async def close(self) -> None:
        """Stop every consumer and listener, send what is buffered, disconnect."""
        for consumer in [*self._consumers]:
            await consumer.stop()
        if self._client.is_closed:
            return
        try:
            await asyncio.wait_for(self._client.drain(), 5.0)
        except (nats.errors.Error, TimeoutError, OSError):
            await self._client.close()

    async def ensure(self, replicas: int = 1) -> None:
        """Create the streams, buckets and the object store that are not there yet.

        replicas: on how many servers of a cluster each lies (3 survive the loss of one).
        """
        with mapped("streams"):
            await patiently(lambda: ensure(self._js, replicas))

    # ---------------------------------------------------------------- speaking

    async def publish(self, subject: str, message: Message) -> None:
        """Say it to whoever listens now."""
        with mapped(subject):
            await self._client.publish(subject, encode(message))

    async def record(self, subject: str, message: Message, *, dedupe: str = "") -> None:
        """Say it and return when the stream has it; the same `dedupe` is kept only once."""
        data = encode(message)
        with mapped(subject):
            await patiently(lambda: self._js.publish(subject, data, headers=_headers(dedupe)))

    async def record_soon(
        self, subject: str, message: Message, *, dedupe: str = ""
    ) -> asyncio.Future[None]:
        """Say it; the future tells whether the stream has it. Waits while the window is full."""
        with mapped(subject):
            acknowledged = await self._js.publish_async(
                subject, encode(message), headers=_headers(dedupe)
            )
        return asyncio.ensure_future(_confirmed(acknowledged, subject))

    @overload
    async def request(
        self, subject: str, message: Message, one: type[A], /, *, timeout_s: float = 5.0
    ) -> A: ...

    @overload
    async def request(
        self,
        subject: str,
        message: Message,
        one: type[A],
        other: type[B],
        /,
        *,
        timeout_s: float = 5.0,
    ) -> A | B: ...

    async def request(
        self, subject: str, message: Message, /, *replies: type[Message], timeout_s: float = 5.0
    ) -> Message:
        """Ask, and return the answer, which must be one of `replies`."""
        place = subject
        if subject.startswith(subjects.REQUESTS):
            place = subjects.asked_by(subject, asker_of(message) or self.user)
        try:
            asking = self._client.request(place, encode(message), timeout=timeout_s)
            reply = await self._unless_denied(place, asking)
        except nats.errors.NoRespondersError as exc:
            text = f"{_answers(subject)} on {self.url}"
            raise NoAnswerError(subject, 0.0, text) from exc
        except (nats.errors.TimeoutError, TimeoutError) as exc:
            raise NoAnswerError(subject, timeout_s) from exc
        except (nats.errors.Error, OSError) as exc:
            raise BusError(f"{subject}: {exc}") from exc
        answer = decode(reply.data)
        if isinstance(answer, replies):
            return answer
        if isinstance(answer, Undecodable):
            raise ProtocolError(f"{subject} was not understood: {answer.text}")
        if isinstance(answer, Failed):
            raise ServiceError(answer.kind, answer.text)
        raise ProtocolError(f"{subject} was answered by {type(answer).__name__}")

    # ---------------------------------------------------------------- listening

    async def serve(self, name: str, endpoints: Mapping[str, Handler], about: About = dict) -> None:
        """Answer requests as one of the services `name` (NATS micro: one of them gets each).

        about: what it says of itself whenever the services are listed.
        """
        service = await nats.micro.add_service(
            self._client,
            name=name,
            version="1.0.0",
            queue_group=name,
            stats_handler=lambda _: about(),
        )
        for subject, handler in endpoints.items():
            asked = subject.startswith(subjects.REQUESTS)
            await service.add_endpoint(
                name=subject.rsplit(".", 1)[-1],
                subject=subjects.asked_by(subject, "*") if asked else subject,
                handler=self._answering(handler),
            )
        self._micro.append(service)
        await self._client.flush()  # from now on nobody is told that no one answers

    def _answering(self, handler: Handler) -> nats.micro.service.Handler:
        async def answer(request: nats.micro.Request) -> None:
            # A task each: a slow question must not stand before a quick one.
            task = asyncio.create_task(self._answer(handler, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return answer

    async def _answer(self, handler: Handler, request: nats.micro.Request) -> None:
        try:
            not_republished(request.headers)
            message = decode(request.data)
        except ProtocolError as exc:
            self.counters["undecodable"] += 1
            await request.respond(encode(Undecodable(text=str(exc))))
            return
        try:
            if request.subject.startswith(subjects.REQUESTS):
                ASKED_BY.set(_true_asker(request.subject, message))
            reply = await handler(message)
        except MLModelScopeError as exc:
            log.warning("request failed", extra={"subject": request.subject, "error": str(exc)})
            reply = Failed(kind=exc.kind, text=str(exc))
        except Exception as exc:
            log.exception("request failed", extra={"subject": request.subject})
            reply = Failed(kind="internal", text=f"{type(exc).__name__}: {exc}")
        with mapped(request.subject):
            await request.respond(encode(reply))

    async def listen(self, subject: str, handler: Listener) -> Subscription:
        """Hear what is said on `subject` from now on; nothing said before, nothing kept."""

        async def heard(msg: Msg) -> None:
            if not msg.data:
                return  # a key that is gone says nothing
            try:
                message = decode(msg.data)
            except ProtocolError:
                self.counters["undecodable"] += 1
                return
            await handler(msg.subject, message)

        with mapped(subject):
            return Subscription(await self._client.subscribe(subject, cb=heard))

    async def wake_on_end(self, subject: str, wake: Callable[[], None]) -> Subscription:
        """Call `wake` whenever the key of `subject` may be gone.

        Not on any change: what a compare-and-set that fails would have written is heard, too, our
        own included.
        """

        async def heard(msg: Msg) -> None:
            if not msg.data:
                wake()

        with mapped(subject):
            return Subscription(await self._client.subscribe(subject, cb=heard))

    async def consume(
        self,
        stream: str,
        durable: str,
        filters: list[str],
        handler: BatchHandler,
        *,
        batch: int = 64,
        ack_wait_s: float = 30.0,
        anew: bool = False,
    ) -> Consumer:
        """Take messages from a stream as the durable consumer `durable`, a batch at a time.

        anew: nobody else is this consumer; what one before us left unacknowledged comes at once.
        """
        consumer = Consumer(self._client, self._js, stream, durable, handler, batch, self.counters)
        with mapped(stream):
            if anew:
                await patiently(consumer.forget)
            await patiently(lambda: consumer.start(filters, ack_wait_s))
        self._consumers.append(consumer)
        return consumer

    async def replay(self, stream: str, subject: str) -> list[Message]:
        """What a stream holds now on `subject`, oldest first."""
        with mapped(subject):
            return await _replay(self._js, stream, subject)

    async def bucket(self, name: str) -> Bucket:
        """A key-value bucket that `ensure` made."""
        with mapped(name):
            return Bucket(await self._js.key_value(name), name, self._js)

    def dead_letters(self) -> DeadLetters:
        """What no service could deal with."""
        return DeadLetters(self._js)

    async def objects(self, store: str = subjects.OBJECTS) -> Objects:
        """An object store, for what is too large for a message: inputs for a week, or models."""
        with mapped(store):
            return Objects(await self._js.object_store(store), self._js, store)

    async def describe(self) -> SystemDescribed:
        """The services that answer now, and the streams; for those who may ask."""
        with mapped("system"):
            found = await asyncio.gather(
                services_seen(self._client), patiently(lambda: streams_seen(self._js))
            )
        return SystemDescribed(services=found[0], streams=found[1])

    # ---------------------------------------------------------------- what NATS tells us

    async def _unless_denied(self, place: str, asking: Awaitable[Msg]) -> Msg:
        """The answer; at once ForbiddenError where the bus does not let us ask there."""
        if not self._secured:
            return await asking
        denied: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._denials[place.lower()] = denied
        asked = asyncio.ensure_future(asking)
        try:
            await asyncio.wait([asked, denied], return_when=asyncio.FIRST_COMPLETED)
            return (denied if denied.done() else asked).result()
        finally:
            asked.cancel()
            self._denials.pop(place.lower(), None)

    async def _heard_error(self, exc: Exception) -> None:
        self.counters["bus_errors"] += 1
        if isinstance(exc, ssl.SSLError) or _unknown_user(exc):
            self._refusal = exc
            self._refused.set()
        if violated := _VIOLATION.search(str(exc)):
            self.counters["denied"] += 1
            log.warning("the bus does not allow it", extra={"subject": violated[1]})
            waiting = self._denials.get(violated[1].lower())
            if waiting is not None and not waiting.done():
                text = f"the bus does not let {self.user} publish to {violated[1]}"
                waiting.set_exception(
                    ForbiddenError(f"{text}: are the credentials the right ones?")
                )
        if isinstance(exc, nats.errors.SlowConsumerError):
            self.counters["dropped"] += 1
        log.debug("bus error", extra={"error": repr(exc)})

    async def _lost(self) -> None:
        self.counters["disconnects"] += 1

    async def _regained(self) -> None:
        for consumer in self._consumers:
            consumer.renew()


class _JetStream(JetStreamContext):
    """Tells who waits for an acknowledgement that the stream refused.

    nats-py 2.16 raises the refusal in its own callback instead: the one who waits for it would
    hear nothing until its timeout.
    """

    async def _handle_async_reply(self, msg: Msg) -> None:
        try:
            await super()._handle_async_reply(msg)
        except nats.js.errors.APIError as exc:
            waiting = self._publish_async_futures.get(msg.subject.rsplit(".", 1)[-1])
            if waiting is not None and not waiting.done():
                waiting.set_exception(exc)


class Subscription:
    """A core subscription of ours."""

    def __init__(self, subscription: NatsSubscription) -> None:
        self._subscription = subscription

    async def stop(self) -> None:
        """Hear no more."""
        try:
            await self._subscription.unsubscribe()
        except (nats.errors.Error, ValueError):
            pass  # the connection is gone, and the subscription with it


def _true_asker(subject: str, message: Message) -> str:
    """Whose request it is: the subject says it, and the message must say the same."""
    who, said = subjects.asker(subject), asker_of(message)
    if said and said != who:
        raise ForbiddenError(f"the request says it is by {said!r}, and was asked by {who!r}")
    return who


COLLECTORS = {
    subjects.HISTORY,
    subjects.EVALUATION,
    subjects.TIMELINE,
    subjects.DELETE,
    subjects.USAGE,
    subjects.CLOCK,
}


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Foreign errors as ours, named after the subject or stream."""
    try:
        yield
    except nats.js.errors.NoStreamResponseError as exc:
        raise BusError(f"{what}: no stream keeps it; has any service of ours started?") from exc
    except nats.js.errors.APIError as exc:
        kind = BusFullError if exc.err_code in FULL_CODES else BusError
        raise kind(f"{what}: {exc.description}") from exc
    except (nats.errors.TimeoutError, TimeoutError) as exc:
        raise NoAnswerError(what, 10.0, "JetStream did not acknowledge") from exc
    except (nats.errors.Error, OSError) as exc:
        raise BusError(f"{what}: {exc or type(exc).__name__}") from exc


def _answers(subject: str) -> str:
    """Who is missing when nobody answers."""
    if subject in COLLECTORS:
        return "no collector is running"
    parts = subject.split(".")
    return f"no node {parts[3]} is running" if parts[2] == "node" else "no coordinator is running"


_VIOLATION = re.compile(r'[Pp]ermissions [Vv]iolation for [Pp]ublish to "([^"]+)"')


def _not_trusted(url: str, exc: ssl.SSLError) -> str:
    """What to tell who cannot tell whether the server is the right one."""
    reason = getattr(exc, "verify_message", "") or exc.reason or str(exc)
    return (
        f"the bus at {url} shows a certificate that is not trusted ({reason}): the credentials "
        "file (--credentials, MLMS_CREDENTIALS) names the authority to trust; is it this bus's?"
    )


def _unknown_user(exc: Exception) -> bool:
    """Whether a server does not know who connects: nats-py has a type for it, and its text."""
    said = str(exc).lower()
    return isinstance(exc, nats.errors.AuthorizationError) or "authorization violation" in said


def _not_let_in(url: str, identity: Identity) -> str:
    """What to tell who has no credentials, or not the right ones."""
    if not identity.seed:
        return (
            f"the bus at {url} lets in only whom it knows: name a credentials file with "
            "--credentials or MLMS_CREDENTIALS (`mlmodelscope secrets` makes them)"
        )
    return (
        f"the bus at {url} does not know the {identity.role} {identity.user} of these credentials"
    )


async def _someone_listens(servers: list[str], patience_s: float) -> None:
    """Return when one of the addresses takes connections; OSError when none does in time.

    nats-py itself either gives up on the first try or never.
    """
    deadline_s = time.monotonic() + patience_s
    while True:
        for server in servers:
            parts = urlsplit(server if "://" in server else f"nats://{server}")
            if not parts.hostname:
                raise ValueError("expected nats://HOST:PORT")
            try:
                opening = asyncio.open_connection(parts.hostname, parts.port or 4222)
                _, writer = await asyncio.wait_for(opening, 2.0)
                writer.close()
                return
            except (OSError, TimeoutError) as exc:
                refused = exc
        if time.monotonic() > deadline_s:
            raise OSError(str(refused) or "no answer")
        await asyncio.sleep(0.2)


async def _confirmed(acknowledged: asyncio.Future[Any], subject: str) -> None:
    with mapped(subject):
        await asyncio.wait_for(acknowledged, 10.0)


def _headers(dedupe: str) -> dict[str, str] | None:
    return {"Nats-Msg-Id": dedupe} if dedupe else None


async def _replay(js: JetStreamContext, stream: str, subject: str) -> list[Message]:
    held = await js.stream_info(stream, subjects_filter=subject)
    wanted = sum((held.state.subjects or {}).values())
    messages: list[Message] = []
    if not wanted:
        return messages
    done = asyncio.Event()

    async def take(msg: Msg) -> None:
        try:
            messages.append(decode(msg.data))
        except ProtocolError:
            log.info("unreadable message passed over", extra={"subject": msg.subject})
        if msg.metadata.num_pending == 0:
            done.set()

    subscription = await js.subscribe(subject, stream=stream, ordered_consumer=True, cb=take)
    try:
        await asyncio.wait_for(done.wait(), 10.0)
    finally:
        await subscription.unsubscribe()
    return messages
