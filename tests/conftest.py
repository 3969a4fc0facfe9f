"""The real servers, once a session, on free ports with temporary data: emptied between tests."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from aiohttp import web

from bus.connection import Bus
from mlmodelscope import embedded, servers
from mlmodelscope.pictures import BROWSERS, QUIET

WHOLE_MACHINE = ("reliability", "deployment", "benchmarks")
"""Folders whose tests kill servers, fill disks or run a Docker engine: one at a time, and first."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run side by side: what is in one file stays together, as fixtures are shared."""
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return "machine" if path.split("/")[1] in WHOLE_MACHINE else path

    return Files(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the whole machine is begun first, so that it does not end last."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(here).parts[0] not in WHOLE_MACHINE)


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
async def browser() -> AsyncIterator[Any]:
    """A headless browser that asks nobody outside."""
    if (program := next(filter(None, map(shutil.which, BROWSERS)), None)) is None:
        pytest.skip("no chromium on PATH: apt-get install chromium")
    playwright = pytest.importorskip("playwright.async_api")
    flags = [flag for flag in QUIET if flag != "--headless"]  # which Playwright adds itself
    async with playwright.async_playwright() as driver:
        found = await driver.chromium.launch(executable_path=program, args=flags)
        yield found
        await found.close()


@pytest.fixture
def wheels(pytestconfig: pytest.Config) -> Path:
    """Where packages that tests fetch are kept between runs."""
    from platformdirs import user_cache_path

    path = user_cache_path("mlmodelscope-tests")
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Profiles that others recorded on real GPUs: read where they lie, never committed."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MLMS_RECORDINGS", beside))
    if not (folder / "gpu_traces").is_dir():
        pytest.skip(f"{folder}: no recordings there (MLMS_RECORDINGS names another folder)")
    return folder


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


class OtlpReceiver:
    """An OTLP/HTTP endpoint on a free port, which reads what it is sent by OpenTelemetry's types.

    answers: statuses to give to the next requests, whose spans are not taken; then 200.
    """

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.metric_answers: list[int] = []
        self.resources: list[Any] = []
        self.metrics: list[Any] = []
        self.url = ""

    @property
    def spans(self) -> list[Any]:
        return [s for r in self.resources for group in r.scope_spans for s in group.spans]

    @property
    def services(self) -> dict[bytes, str]:
        """Span id -> the service.name that its resource has."""
        found = {}
        for resource in self.resources:
            about = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            for group in resource.scope_spans:
                found |= {span.span_id: about["service.name"] for span in group.spans}
        return found

    async def receive(self, request: web.Request) -> web.Response:
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service

        if self.answers:
            here = {"Location": str(request.url)}
            return web.Response(status=self.answers.pop(0), headers=here)
        assert request.content_type == "application/x-protobuf"
        sent = service.ExportTraceServiceRequest.FromString(await request.read())
        self.resources += sent.resource_spans
        answer = service.ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")

    async def receive_metrics(self, request: web.Request) -> web.Response:
        from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service

        if self.metric_answers:
            return web.Response(status=self.metric_answers.pop(0))
        sent = service.ExportMetricsServiceRequest.FromString(await request.read())
        self.metrics += sent.resource_metrics
        return web.Response(body=b"", content_type="application/x-protobuf")


@pytest.fixture
async def otlp_receiver() -> AsyncIterator[OtlpReceiver]:
    """A receiver of OTLP that is running."""
    receiver = OtlpReceiver()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/traces", receiver.receive)
    app.router.add_post("/v1/metrics", receiver.receive_metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


MakeEnvironment = Callable[..., Path]


@pytest.fixture(scope="session")
def make_environment() -> MakeEnvironment:
    """Makes virtual environments of packages, and of a folder's own; kept between sessions."""
    from platformdirs import user_cache_path

    def pip(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        return subprocess.run([*install, *arguments], capture_output=True, text=True, timeout=600)

    def make(*requirements: str, package: Path | None = None) -> Path:
        files = sorted(package.glob("*.*")) if package else []
        content = b"\0".join(path.read_bytes() for path in files if path.is_file())
        words = "\0".join((sys.version, *requirements)).encode() + content
        envs = user_cache_path("mlmodelscope-tests") / "envs"
        folder = envs / hashlib.sha256(words).hexdigest()[:16]
        python, whole = folder / "bin" / "python", folder / "whole"
        envs.mkdir(parents=True, exist_ok=True)
        with (envs / f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another session may be making it
            if whole.exists():
                return python
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            done = pip(python, *requirements)
            if done.returncode:
                pytest.skip(f"no package index gives {', '.join(requirements)}: {done.stderr}")
            if package:
                copy = shutil.copytree(
                    package, folder / "package"
                )  # pip leaves files where it builds
                done = pip(python, "--no-deps", "--no-build-isolation", str(copy))
                assert not done.returncode, done.stderr
            whole.touch()
        return python

    return make


OPENVINO = Path(__file__).parents[1] / "examples" / "openvino_framework"


@pytest.fixture(scope="session")
def home_with_environments(
    make_environment: MakeEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A running embedded system whose node has two more environments: old and openvino."""
    needed = ("numpy<2.4", "msgpack", "pillow")
    old = make_environment("onnxruntime==1.20.1", *needed)
    openvino = make_environment("openvino==2026.4.1", "setuptools>=77", *needed, package=OPENVINO)
    folder = tmp_path_factory.mktemp("environments")
    with embedded.joined(
        folder, os.environ | {"MLMS_ENVIRONMENTS": f"old={old},openvino={openvino}"}
    ):
        yield folder


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
