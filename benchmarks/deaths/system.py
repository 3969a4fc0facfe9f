"""A whole system with each part in a process of its own, any number of each, on temporary data."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from benchmarks.deaths import pulse
from benchmarks.deaths.parts import Part, Place, service
from mlmodelscope import servers

CLUSTERED = """\
host: {host}
port: {port}
server_name: {name}
max_payload: 8MB
jetstream {{ store_dir: {store}, max_memory_store: 64MB{limits} }}
"""
ROUTES = """\
cluster {{ name: deaths, host: 127.0.0.1, port: {port}, routes: [{routes}] }}
"""
DATABASE = "deaths"


@dataclass(frozen=True)
class Shape:
    """How many of each part there are. host: where the servers listen."""

    nats_servers: int = 1
    mongods: int = 1
    coordinators: int = 2
    collectors: int = 1
    nodes: int = 2
    host: str = "127.0.0.1"
    nats_limits: str = ""
    """More of nats-server's `jetstream` block."""
    nats_folder: Path | None = None
    mongo_folder: Path | None = None


@dataclass
class System:
    """A running system: its parts by name, where it answers, and how more parts are made."""

    folder: Path
    shape: Shape
    parts: dict[str, Part] = field(default_factory=dict)
    bus_url: str = ""
    mongo_url: str = ""

    def named(self, beginning: str) -> list[Part]:
        """The parts whose names begin so."""
        return [part for name, part in self.parts.items() if name.startswith(beginning)]

    def add(self, part: Part) -> Part:
        """A part more, started."""
        self.parts[part.name] = part
        part.start()
        return part

    def node(self, name: str, place: Place | None = None, bus_url: str = "") -> Part:
        """A node with the framework of these benchmarks."""
        arguments = ["--bus", bus_url or self.bus_url, "--id", name]
        arguments += ["--plugin", f"pulse={pulse.__file__}"]
        return self.add(service("node", name, self.folder, arguments, place))

    def coordinator(self, name: str) -> Part:
        """A coordinator."""
        return self.add(self._service("coordinator", name))

    def collector(self, name: str) -> Part:
        """A collector."""
        more = ["--mongo", self.mongo_url]
        place = Place(env={"MLMS_DATABASE": DATABASE})
        arguments = ["--bus", self.bus_url, *more]
        return self.add(service("collector", name, self.folder, arguments, place))

    def _service(self, role: str, name: str) -> Part:
        place = Place(env={"MLMS_REPLICAS": "3" if self.shape.nats_servers > 1 else "1"})
        return service(role, name, self.folder, ["--bus", self.bus_url], place)


@asynccontextmanager
async def running(shape: Shape | None = None) -> AsyncIterator[System]:
    """A system of this shape; every part ended, and its data gone, after."""
    with tempfile.TemporaryDirectory(prefix="deaths-", ignore_cleanup_errors=True) as folder:
        system = System(Path(folder), shape or Shape())
        try:
            await _start_servers(system)
            await _start_services(system)
            yield system
        finally:
            for part in reversed([*system.parts.values()]):
                await asyncio.to_thread(part.stop)


async def _start_servers(system: System) -> None:
    _add_nats_servers(system)
    _add_mongods(system)
    await asyncio.gather(*(part.ready() for part in system.parts.values()))
    if system.shape.mongods > 1:
        await asyncio.to_thread(_make_replica_set, system.mongo_url)


async def _start_services(system: System) -> None:
    # One first: it makes the streams, and on a cluster that takes a moment.
    await system.coordinator("coordinator-1").ready()
    for number in range(2, system.shape.coordinators + 1):
        system.coordinator(f"coordinator-{number}")
    for number in range(1, system.shape.collectors + 1):
        system.collector(f"collector-{number}")
    for number in range(1, system.shape.nodes + 1):
        system.node(f"node-{number}")
    await asyncio.gather(*(part.ready() for part in system.parts.values()))


def _add_nats_servers(system: System) -> None:
    shape = system.shape
    count, host = shape.nats_servers, shape.host
    ports = [servers.free_port() for _ in range(count)]
    routes = [servers.free_port() for _ in range(count)]
    for number in range(count):
        name = f"nats-{number + 1}"
        folder = (shape.nats_folder or system.folder) / name
        folder.mkdir(parents=True, exist_ok=True)
        config = CLUSTERED.format(
            host=host,
            port=ports[number],
            name=name,
            store=json.dumps(str(folder / "data")),
            limits=shape.nats_limits,
        )
        if count > 1:
            others = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
            config += ROUTES.format(port=routes[number], routes=others)
        (system.folder / f"{name}.conf").write_text(config)
        command = [str(servers.find_nats_server()), "-c", str(system.folder / f"{name}.conf")]
        system.add(_server(name, command, system.folder, (host, ports[number])))
    system.bus_url = ",".join(f"nats://{host}:{port}" for port in ports)


def _add_mongods(system: System) -> None:
    shape = system.shape
    ports = [servers.free_port() for _ in range(shape.mongods)]
    for number, port in enumerate(ports):
        name = f"mongod-{number + 1}"
        data = (shape.mongo_folder or system.folder) / name
        data.mkdir(parents=True, exist_ok=True)
        command = [str(servers.find_mongod()), f"--dbpath={data}", f"--port={port}"]
        command += servers.MONGO_ARGUMENTS
        if shape.mongods > 1:
            command += ["--replSet=deaths", "--oplogSize=32"]
        system.add(_server(name, command, system.folder, ("127.0.0.1", port)))
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    system.mongo_url = f"mongodb://{hosts}/"
    if shape.mongods > 1:
        system.mongo_url += "?replicaSet=deaths"


def _server(name: str, command: list[str], folder: Path, address: tuple[str, int]) -> Part:
    def why_not() -> str:
        try:
            socket.create_connection(address, 1.0).close()
        except OSError as exc:
            return str(exc)
        return ""

    return Part(name, command, folder / f"{name}.log", why_not)


def _make_replica_set(url: str) -> None:
    """Three members; elections begin after two seconds, not ten, so that tests need not wait."""
    hosts = url.removeprefix("mongodb://").split("/")[0].split(",")
    members = [{"_id": number, "host": host} for number, host in enumerate(hosts)]
    settings = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}
    config = {"_id": "deaths", "members": members, "settings": settings}
    client: MongoClient[Any] = MongoClient(f"mongodb://{hosts[0]}/?directConnection=true")
    with client:
        client.admin.command("replSetInitiate", config)
    client = MongoClient(url, w="majority")
    with client:
        client[DATABASE].begin.insert_one({})  # returns when there is a primary with a majority
        client[DATABASE].begin.drop()
