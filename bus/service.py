"""One service's life: start, serve aiohttp status endpoints, run, drain on SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import MISSING, fields
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from bus.errors import InputError
from bus.messages import PROTOCOL

S = TypeVar("S")
log = logging.getLogger(__name__)


class Service:
    """What every service of ours is: it starts, it stops, it can say how it is."""

    name = "service"

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.status_url = ""
        self.started = False

    async def start(self) -> None:
        """Begin; return when ready for work."""

    async def stop(self) -> None:
        """Finish what is in hand, take nothing new."""

    def not_ready(self) -> str:
        """Why this service cannot work now, or nothing."""
        return ""

    def status(self) -> dict[str, object]:
        """What it is and what it is doing: shown at /status."""
        return {}


@asynccontextmanager
async def serving(service: Service, address: str = "127.0.0.1:0") -> AsyncIterator[Service]:
    """A service that runs inside this block, with its status endpoints on host:port.

    Port 0 takes any free one. The endpoints are up before the service is: /readyz says no.
    """
    host, _, port = address.rpartition(":")
    app = web.Application()
    app.add_routes(status_routes(service))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host or "127.0.0.1", int(port))
        await site.start()
    except (OSError, ValueError) as exc:
        await runner.cleanup()
        raise InputError(f"cannot serve status at {address}: {exc}; try 127.0.0.1:0") from exc
    bound, taken = runner.addresses[0][:2]
    reachable = socket.gethostname() if bound in ("0.0.0.0", "::") else bound
    service.status_url = f"http://{reachable}:{taken}"
    log.info("%s starting, status at %s", service.name, service.status_url)
    try:
        await service.start()
        service.started = True
        log.info("%s ready", service.name)
        yield service
    finally:
        service.started = False
        await service.stop()
        await runner.cleanup()
        log.info("%s stopped", service.name)


def why_not_ready(service: Service) -> str:
    """Why a service takes no work now, or nothing."""
    return service.not_ready() or ("" if service.started else "starting or stopping")


async def until_signalled() -> None:
    """Return on SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def settings_from(kind: type[S], env: Mapping[str, str], **given: object) -> S:
    """A service's Settings from MLMS_<FIELD> variables; `given` values that are not None win.

    Raises InputError naming the variable, what was expected and what was found.
    """
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        name = f"MLMS_{field.name.upper()}"
        if given.get(field.name) is not None:
            values[field.name] = given[field.name]
        elif name in env:
            values[field.name] = env[name]
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{name} is not set, and there is no default for it")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as exc:
        raise InputError(f"settings of {kind.__module__.split('.')[0]}: {exc}") from exc


def status_routes(service: Service) -> list[web.RouteDef]:
    """/healthz, /readyz, /status and /metrics of a service, wherever they are served."""
    started_s = time.time()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Metrics(service))

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        why_not = why_not_ready(service)
        return web.Response(text=f"{why_not or 'ready'}\n", status=503 if why_not else 200)

    async def status(_: web.Request) -> web.Response:
        body = {
            "service": service.name,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "protocol": PROTOCOL,
            "uptime_s": round(time.time() - started_s, 3),
            "ready": not why_not_ready(service),
            "not_ready": why_not_ready(service),
            "counters": dict(service.counters),
            **service.status(),
        }
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain")

    return [
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
        web.get("/status", status),
        web.get("/metrics", metrics),
    ]


class _Metrics:
    """A service's counters in Prometheus's terms, read when somebody asks."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        prefix = f"mlms_{self._service.name}"
        ready = GaugeMetricFamily(
            f"{prefix}_ready", "1 when ready", float(not why_not_ready(self._service))
        )
        return [ready] + [
            CounterMetricFamily(f"{prefix}_{key}", key.replace("_", " "), value)
            for key, value in sorted(self._service.counters.items())
        ]
