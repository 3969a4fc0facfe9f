"""The page of the fleet: nodes, queues, services, streams; and each change of it as it happens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from bus.errors import MLModelScopeError
from bus.messages import JobWaiting, NodeSeen, ServiceSeen, SystemDescribed
from mlmodelscope.client import Client
from web.rendering import Page

log = logging.getLogger(__name__)
LOOK_S = 1.0
SILENCE_S = 15.0
MOST_NODES, MOST_JOBS = 200, 200
NO_SYSTEM = SystemDescribed(services=[], streams=[])


@dataclass(frozen=True)
class Fleet:
    """What is seen of a system at one moment; away: why a part of it could not be asked."""

    nodes: list[NodeSeen] = field(default_factory=list)
    jobs: list[JobWaiting] = field(default_factory=list)
    waiting: int = 0
    system: SystemDescribed = NO_SYSTEM
    away: str = ""

    def mark(self) -> bytes:
        """The same as long as a person would see the same: no counts of answers."""
        services = [(one.id, one.not_ready) for one in self.system.services]
        parts: Any = (self.nodes, self.jobs, services, self.system.streams, self.away)
        return msgspec.msgpack.encode(parts)


async def look(client: Client) -> Fleet:
    """All of it, asked at once; nodes without which nothing can be shown raise what is wrong."""
    nodes, queue, system = await asyncio.gather(
        client.nodes(), client.queue(), client.system(), return_exceptions=True
    )
    found: dict[str, Any] = {}
    away = []
    for name, answer in (("nodes", nodes), ("queue", queue), ("system", system)):
        if isinstance(answer, MLModelScopeError):
            away.append(f"{name}: {answer}")
        elif isinstance(answer, BaseException):
            raise answer
        elif name == "queue":
            found |= {"jobs": answer.jobs, "waiting": answer.total}  # type: ignore[union-attr]
        elif name == "nodes":
            found["nodes"] = sorted(answer, key=lambda seen: seen.node.node_id)  # type: ignore[arg-type]
        else:
            found["system"] = answer
    return Fleet(**found, away="; ".join(away))


async def fleet(request: web.Request) -> web.Response:
    """The nodes, what each can do and is doing, and how the services and streams are."""
    found = await look(Page.state(request).client)
    words = request.query.get("search", "")[:200].strip()
    return Page.render(request, "fleet.html", search=words, **_shown(found, words))


def _shown(found: Fleet, words: str) -> dict[str, Any]:
    nodes = [seen for seen in found.nodes if _holds(seen, words)]
    running: dict[str, list[JobWaiting]] = {}
    for job in found.jobs:
        if not job.position and not job.held:
            running.setdefault(job.node_id, []).append(job)
    return {
        "nodes": nodes[:MOST_NODES],
        "alive": len(found.nodes),
        "left_out": max(0, len(nodes) - MOST_NODES),
        "running": running,
        "waits": Counter(job.node_id for job in found.jobs if job.position or job.held),
        "queue": found.jobs[:MOST_JOBS],
        "waiting": found.waiting,
        "services": [one for one in found.system.services if one.name != "node"],
        "streams": found.system.streams,
        "missing": _missing(found.system.services),
        "away": found.away,
    }


def _holds(seen: NodeSeen, words: str) -> bool:
    node = seen.node
    parts = [node.node_id, node.host, node.cpu, node.arch]
    parts += [f"{one.name} {one.version}" for one in node.frameworks]
    parts += [one.name for one in node.devices] + [f"{k}={v}" for k, v in node.labels.items()]
    text = " ".join(parts).casefold()
    return all(word in text for word in words.casefold().split())


def _missing(services: list[ServiceSeen]) -> list[str]:
    there = {one.name for one in services}
    return [name for name in ("coordinator", "collector") if there and name not in there]


# ------------------------------------------------------------------ as it happens


class Watch:
    """Looks at the fleet once a second as long as somebody watches, for all who do."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._listeners: set[asyncio.Queue[Fleet]] = set()
        self._task: asyncio.Task[None] | None = None
        self._last: Fleet | None = None

    def listen(self) -> asyncio.Queue[Fleet]:
        """What is seen, and then each change; one that is not fetched makes room for the next."""
        mine: asyncio.Queue[Fleet] = asyncio.Queue(1)
        if self._last is not None:
            mine.put_nowait(self._last)
        self._listeners.add(mine)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        return mine

    def leave(self, mine: asyncio.Queue[Fleet]) -> None:
        """Tell this one no more."""
        self._listeners.discard(mine)

    @property
    def wanted(self) -> bool:
        """Whether anybody watches."""
        return bool(self._listeners)

    async def end(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _look(self) -> None:
        before = b""
        while self._listeners:
            began_s = time.monotonic()
            try:
                found = await look(self._client)
            except (ConnectionError, TimeoutError) as exc:
                found = Fleet(away=f"no answer from the system: {exc}")
            if (mark := found.mark()) != before:
                before, self._last = mark, found
                for one in self._listeners:
                    if one.full():
                        one.get_nowait()
                    one.put_nowait(found)
            await asyncio.sleep(max(0.0, LOOK_S - (time.monotonic() - began_s)))


class Watches:
    """A watch a user of the bus: of others' private models the queue does not say the name."""

    def __init__(self) -> None:
        self._of: dict[str, Watch] = {}

    def of(self, client: Client) -> Watch:
        """The one that this user's pages share."""
        self._of = {user: watch for user, watch in self._of.items() if watch.wanted}
        return self._of.setdefault(client.user, Watch(client))

    async def end(self, _: web.Application) -> None:
        """Look no more."""
        for watch in self._of.values():
            await watch.end()


WATCHES: web.AppKey[Watches] = web.AppKey("fleet_watches", Watches)


async def events(request: web.Request) -> web.StreamResponse:
    """The middle of the page whenever it changes, and which nodes came and went, in words."""
    words = request.query.get("search", "")[:200].strip()
    watch = request.app[WATCHES].of(Page.state(request).client)
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    mine, known = watch.listen(), None
    try:
        while True:
            try:
                found = await asyncio.wait_for(mine.get(), SILENCE_S)
            except TimeoutError:
                await response.write(b": waiting\n\n")
                continue
            names = {seen.node.node_id for seen in found.nodes}
            told = {
                "html": Page.text(request, "fleet_now.html", **_shown(found, words)),
                "said": "" if known is None else _said(known, names),
            }
            known = names
            await response.write(b"event: fleet\ndata: " + msgspec.json.encode(told) + b"\n\n")
    except ConnectionResetError:
        return response  # the page was left
    finally:
        watch.leave(mine)


def _said(before: set[str], now: set[str]) -> str:
    came = [f"{name} has come" for name in sorted(now - before)]
    return "; ".join([*came, *(f"{name} has left" for name in sorted(before - now))])
