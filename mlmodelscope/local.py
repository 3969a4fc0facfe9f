"""The whole system on one machine: three services on one bus, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bus import connection, service
from bus.identity import NOBODY, needs_node, read_identity
from collector import collector
from coordinator import coordinator
from predictor_node import node

if TYPE_CHECKING:
    from mlmodelscope.client import Client

WEB = "MLMS_WEB_"
ROLES: dict[str, tuple[Any, Any]] = {
    "coordinator": (coordinator.Coordinator, coordinator.Settings),
    "collector": (collector.Collector, collector.Settings),
    "node": (node.Node, node.Settings),
}


@dataclass(frozen=True)
class Storage:
    """On how many servers of a cluster the bus keeps things (MLMS_REPLICAS), and as whom we speak
    with it (MLMS_CREDENTIALS: a file; a node's own may not make streams, and need not)."""

    replicas: int = 1
    credentials: str = ""


@asynccontextmanager
async def system(
    bus_url: str,
    env: Mapping[str, str],
    *,
    roles: tuple[str, ...] = tuple(ROLES),
    status: str = "127.0.0.1:0",
    **given: Any,
) -> AsyncIterator[list[service.Service]]:
    """The services named by `roles`, each with a connection of its own, as separate ones have."""
    storage = service.settings_from(Storage, env)
    identity = read_identity(storage.credentials) if storage.credentials else NOBODY
    if "node" in roles and storage.credentials:
        asked = given.get("node_id") or env.get("MLMS_NODE_ID", "")
        given["node_id"] = needs_node(identity, asked)
    async with AsyncExitStack() as stack:

        async def begin(role: str) -> service.Service:
            kind, settings = ROLES[role]
            bus = await connection.Bus.connect(
                bus_url, name=role, patience_s=60.0, identity=identity
            )
            stack.push_async_callback(bus.close)
            if role != "node" or not storage.credentials:
                await bus.ensure(storage.replicas)
            own = service.settings_from(settings, env, **given)
            made = kind(bus, own)
            bus.counters = made.counters  # what the connection counts is the service's to show
            return await stack.enter_async_context(service.serving(made, status))

        beginnings = [asyncio.create_task(begin(role)) for role in roles]
        try:
            services = await asyncio.gather(*beginnings)
        except BaseException:
            for beginning in beginnings:
                beginning.cancel()
            await asyncio.wait(beginnings)
            raise
        yield services


@asynccontextmanager
async def web(client: Client, env: Mapping[str, str], **given: Any) -> AsyncIterator[str]:
    """The pages and the REST interface for a client that is connected; their address."""
    from web import app
    from web.settings import Settings

    own = {name[len(WEB) :]: value for name, value in env.items() if name.startswith(WEB)}
    named = {f"MLMS_{name}": value for name, value in own.items()}
    async with app.serving(client, service.settings_from(Settings, named, **given)) as url:
        yield url


def first_token(path: Path) -> str:
    """A first token of the web, in a file that was not there; empty where it was."""
    from web.first_token import make_first_token

    return make_first_token(path)
