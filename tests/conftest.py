"""The real servers, once a session, on free ports with temporary data: emptied between tests."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import nats
import pytest

from bus.connection import Bus
from mlmodelscope import embedded, servers


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real nats-server with JetStream."""
    folder = tmp_path_factory.mktemp("nats")
    process, url = servers.start_nats_server(folder)
    try:
        servers.wait_until_open(process, url, folder / "nats.log")
        yield url
    finally:
        servers.stop(process)


@pytest.fixture(scope="session")
def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real mongod."""
    folder = tmp_path_factory.mktemp("mongo")
    process, url = servers.start_mongod(folder)
    try:
        servers.wait_until_open(process, url, folder / "mongod.log")
        yield url
    finally:
        servers.stop(process)


@pytest.fixture
async def bus_url(nats_url: str) -> str:
    """The session's server, with nothing left on it from the test before."""
    client = await nats.connect(nats_url)
    js = client.jetstream()
    for stream in await js.streams_info():
        await js.delete_stream(stream.config.name or "")
    await client.close()
    return nats_url


@pytest.fixture
async def bus(bus_url: str) -> AsyncIterator[Bus]:
    """A connection to an empty bus with every stream and bucket made."""
    connection = await Bus.connect(bus_url, name="test")
    await connection.ensure()
    yield connection
    await connection.close()


@pytest.fixture
def database(mongo_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a database that no other test uses; dropped afterwards."""
    from pymongo import MongoClient

    name = f"t{abs(hash(request.node.nodeid)) % 10**12}"
    yield name
    with MongoClient(mongo_url) as client:
        client.drop_database(name)


@pytest.fixture
def wheels(pytestconfig: pytest.Config) -> Path:
    """Where packages that tests fetch are kept between runs."""
    from platformdirs import user_cache_path

    path = user_cache_path("mlmodelscope-tests")
    path.mkdir(parents=True, exist_ok=True)
    return path


async def eventually(check, timeout_s: float = 10.0, what: str = "") -> None:  # type: ignore[no-untyped-def]
    """Return when check() is true; for what another service does in its own time."""
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while asyncio.get_running_loop().time() < deadline_s:
        result = check()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s: {what or check}")


@pytest.fixture(name="eventually")
def _eventually():  # type: ignore[no-untyped-def]
    return eventually


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running embedded system for the session, which the commands of the tests join."""
    folder = tmp_path_factory.mktemp("home")
    with embedded.joined(folder):
        yield folder


@pytest.fixture
def mlms(home: Path, tmp_path: Path) -> Command:
    """`mlmodelscope …` as a person types it, in an empty folder."""

    def run(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLMS_")}
        return subprocess.run(
            [sys.executable, "-m", "mlmodelscope", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env=environment | {"MLMS_HOME": str(home), "COLUMNS": "120"} | env,
        )

    return run
