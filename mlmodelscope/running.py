"""Runs services until Ctrl-C: one of them against a bus, or all of them on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from bus import loop
from bus.service import until_signalled
from mlmodelscope import embedded, local, logs
from mlmodelscope.places import home_folder


def role(name: str, bus_url: str, status: str, env: Mapping[str, str], **given: Any) -> int:
    """Run the service `name` on the bus at `bus_url` until SIGTERM or Ctrl-C."""
    logs.to_stderr()

    async def run() -> int:
        stop = asyncio.create_task(until_signalled())
        system = local.system(bus_url, env, roles=(name,), status=status, **given)
        entering = asyncio.create_task(system.__aenter__())
        await asyncio.wait([stop, entering], return_when=asyncio.FIRST_COMPLETED)
        if stop.done():
            entering.cancel()
            await asyncio.wait([entering])
        if not entering.cancelled():
            entering.result()
            await stop
            await system.__aexit__(None, None, None)
        return 0

    return loop.run(run())


def up(env: Mapping[str, str], web_port: int | None = None) -> int:
    """Keep the embedded system of the data folder running until SIGTERM or Ctrl-C; with the web
    on `web_port`, if one is given."""
    console = Console(highlight=False)
    folder = home_folder(env)
    with console.status("starting nats-server, mongod, coordinator, collector and a node …"):
        joined = embedded.joined(folder, env)
        system = joined.__enter__()
    try:
        console.print(f"[bold]MLModelScope is up[/], its data in {folder}")
        console.print(f"  bus       {system.bus_url}    (other machines: not reachable, loopback)")
        console.print(f"  database  {system.mongo_url}")
        for name, url in system.status.items():
            console.print(f"  {name:<11} {url}/status  /healthz  /readyz  /metrics")
        console.print(
            "\nIn another terminal:\n  mlmodelscope evaluate EfficientNet-Lite0\n"
            f"  mlmodelscope history\nEvents: {folder / 'supervisor.log'}\nCtrl-C ends it all."
        )
        loop.run(_serve(console, system.bus_url, env, web_port))
        console.print("\nstopping …")
    finally:
        joined.__exit__(None, None, None)
    return 0


async def _serve(
    console: Console, bus_url: str, env: Mapping[str, str], web_port: int | None
) -> None:
    """Wait for the end, with the pages beside it where they are wanted."""
    if web_port is None:
        return await until_signalled()
    from mlmodelscope.client import Client

    async with Client(bus_url) as client, local.web(client, env, port=web_port) as url:
        console.print(f"\nThe pages are at [bold]{url}[/]")
        await until_signalled()
