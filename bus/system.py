"""What runs on a bus: its services, as NATS micro finds them, and how far behind streams are."""

from __future__ import annotations

import asyncio
import socket

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api

from bus import subjects
from bus.messages import ConsumerSeen, ServiceSeen, StreamSeen
from bus.service import Service, why_not_ready

ALL = "$SRV.STATS"
QUIET_S, LONGEST_S = 0.1, 0.5
"""After so long without another answer everybody has spoken; and no more is waited than that."""
STREAMS = (
    subjects.JOBS_STREAM,
    subjects.FACTS_STREAM,
    subjects.SPANS_STREAM,
    subjects.DEAD_STREAM,
)


def about(service: Service) -> dict[str, object]:
    """What a service of ours says of itself when the services are listed."""
    return {
        "host": socket.gethostname(),
        "status_url": service.status_url,
        "not_ready": why_not_ready(service),
    }


async def services_seen(client: Client) -> list[ServiceSeen]:
    """Every service that answers within a moment, by name."""
    found: list[ServiceSeen] = []
    heard = asyncio.Event()

    async def take(msg: Msg) -> None:
        try:
            found.append(_seen(msgspec.json.decode(msg.data, type=_Stats)))
        except msgspec.MsgspecError:
            return  # another program's service, which says it otherwise
        heard.set()

    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=take)
    try:
        await client.publish(ALL, b"", reply=inbox)
        async with asyncio.timeout(LONGEST_S):
            while True:
                await asyncio.wait_for(heard.wait(), QUIET_S if found else LONGEST_S)
                heard.clear()
    except TimeoutError:
        pass
    finally:
        await subscription.unsubscribe()
    return sorted(found, key=lambda one: (one.name, one.host, one.id))


class _Endpoint(msgspec.Struct):
    """The part of NATS micro's statistics that is shown."""

    num_requests: int = 0
    num_errors: int = 0
    data: dict[str, object] | None = None


class _Stats(msgspec.Struct):
    name: str
    id: str
    endpoints: list[_Endpoint] = []


def _seen(stats: _Stats) -> ServiceSeen:
    said = next((one.data for one in stats.endpoints if one.data), {})
    return ServiceSeen(
        name=stats.name,
        id=stats.id,
        answered=sum(one.num_requests for one in stats.endpoints),
        errors=sum(one.num_errors for one in stats.endpoints),
        **{name: str(said.get(name, "")) for name in ("host", "status_url", "not_ready")},
    )


async def streams_seen(js: JetStreamContext) -> list[StreamSeen]:
    """The streams of ours, in the order in which an evaluation meets them."""
    return list(await asyncio.gather(*(_stream(js, name) for name in STREAMS)))


async def _stream(js: JetStreamContext, name: str) -> StreamSeen:
    info, consumers = await asyncio.gather(js.stream_info(name), js.consumers_info(name))
    return StreamSeen(
        name=name,
        messages=info.state.messages,
        bytes=info.state.bytes,
        most_bytes=max(info.config.max_bytes or 0, 0),
        # Those without a lasting name are of clients that catch up, and gone in a moment.
        consumers=sorted(
            (_consumer(one) for one in consumers if one.config.durable_name),
            key=lambda one: one.name,
        ),
    )


def _consumer(info: api.ConsumerInfo) -> ConsumerSeen:
    return ConsumerSeen(
        name=info.name,
        waiting=info.num_pending or 0,
        unacknowledged=info.num_ack_pending or 0,
        again=info.num_redelivered or 0,
    )
