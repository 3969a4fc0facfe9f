"""A manifest's container on a real Docker engine: the worker inside, its limits, its end."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from msgspec.structs import replace

from bus import subjects
from bus.connection import Bus
from bus.messages import (
    DescribeImage,
    GraphDescribed,
    ImageDescribed,
    Input,
    Job,
    JobFailed,
    JobFinished,
    JobRecord,
    JobStarted,
    Manifest,
    Message,
    ModelOpened,
    NodeAnnounced,
    Opened,
    OpenHere,
    Predict,
    Predicted,
    PredictionsMade,
    Refused,
    Run,
    RunMeasured,
    StackDescribed,
)
from bus.service import settings_from
from manifests.catalog import shipped
from predictor_node.container_settings import Allowed
from predictor_node.node import Node, Settings

pytestmark = pytest.mark.timeout(300)
IMAGE, BARE = "mlms-worker:test", "mlms-bare:test"
(MANIFEST,) = [
    m for m in shipped() if (m.name, m.framework.name) == ("EfficientNet-Lite0", "onnxruntime")
]
COFFEE = MANIFEST.samples[0]
ENDED_S = 240.0
"""Beside a whole test run a container takes its time; none of these tests is about how long."""


@pytest.fixture(scope="module")
def image(engine: Any, machine: Any, tmp_path_factory: Any) -> Iterator[str]:
    """ONNX Runtime and what a worker needs, as a base image of Python would hold them."""
    status = tmp_path_factory.mktemp("status") / "status"
    status.write_text(
        "Package: libc6\nStatus: ok\nVersion: 2.36-9\n\nPackage: tzdata\nVersion: 1\n"
    )
    engine.make_image(BARE, {"/bin/sh": Path("/bin/sh")} | dict(machine.python()))
    more = {"/var/lib/dpkg/status": status}
    more |= dict(machine.packages("onnxruntime", "msgpack", "pillow"))
    engine.add(BARE, IMAGE, more, "ENV PATH=/usr/local/bin:/bin GREETING=hello")
    engine.add(BARE, BARE, {}, "ENV PATH=/usr/local/bin:/bin")
    yield IMAGE
    engine.forget(IMAGE, BARE)


@pytest.fixture
async def node(
    engine: Any, bus: Bus, tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Node]:
    monkeypatch.setenv("DOCKER_HOST", engine.env["DOCKER_HOST"])
    env = {"MLMS_NODE_ID": "n1", "MLMS_HOME": str(tmp_path), "MLMS_CACHE": str(wheels)}
    made = Node(bus, settings_from(Settings, {**env, "MLMS_CONTAINER_MEMORY": "2GiB"}))
    await made.start()
    yield made
    await made.stop()
    assert not containers(engine)


MakeNode = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def make_node(engine: Any, bus_url: str, tmp_path: Path, wheels: Path) -> Iterator[MakeNode]:
    """Starts a node as a process of its own, always the same one."""
    made: list[subprocess.Popen[bytes]] = []
    env = {"MLMS_HOME": str(tmp_path / "process"), "MLMS_CACHE": str(wheels)}
    command = [sys.executable, "-m", "mlmodelscope", "node", "--id=n1", f"--bus={bus_url}"]

    def make() -> subprocess.Popen[bytes]:
        with (tmp_path / "node.log").open("ab") as log:
            made.append(subprocess.Popen(command, env={**engine.env, **env}, stderr=log))
        return made[-1]

    yield make
    for process in made:
        process.kill()
        process.wait()


def containers(engine: Any, role: str = "") -> list[str]:
    label = f"--filter=label=mlmodelscope.role{'=' + role if role else ''}"
    return str(engine.docker("ps", "--all", "--quiet", label)).split()


@dataclass
class Ran:
    """What a node told of one job."""

    bus: Bus
    told: list[Message] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    job_id: str = ""

    def all(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.told if isinstance(fact, kind)]

    def one(self, kind: type[Any]) -> Any:
        (fact,) = self.all(kind)
        return fact

    async def cancel(self) -> None:
        jobs = await self.bus.bucket(subjects.JOBS_BUCKET)
        found = await jobs.get(self.job_id)
        assert found is not None and isinstance(found[0], JobRecord)
        await jobs.update(self.job_id, replace(found[0], state="cancelled"), found[1])


async def begin(bus: Bus, environment: str, manifest: Manifest = MANIFEST, **more: Any) -> Ran:
    """Have the node run a job in this environment."""
    evaluation_id = uuid.uuid4().hex
    ran = Ran(bus, job_id=f"{evaluation_id}-0")
    fields: dict[str, Any] = {
        "inputs": [Input(name="coffee.png", url=COFFEE.url, checksum=COFFEE.checksum)],
        "runs": [Run(index=0, batch_size=1, level="model", queries=3, warmup=0)],
        "settings": {"device": "cpu", "threads": 1},
    }
    job = Job(
        job_id=ran.job_id,
        evaluation_id=evaluation_id,
        user="ann",
        node_id="n1",
        manifest=manifest,
        framework="onnxruntime",
        framework_version="",
        environment=environment,
        **(fields | more),
    )

    async def hear(_: str, fact: Message) -> None:
        ran.told.append(fact)
        if isinstance(fact, JobFinished | JobFailed):
            ran.ended.set()

    await bus.listen(subjects.facts_of(evaluation_id), hear)
    jobs = await bus.bucket(subjects.JOBS_BUCKET)
    await jobs.create(job.job_id, JobRecord(job=job, node_id="n1"))
    await bus.record(subjects.job("n1"), job)
    return ran


async def run(bus: Bus, environment: str, manifest: Manifest = MANIFEST, **more: Any) -> Ran:
    ran = await begin(bus, environment, manifest, **more)
    await asyncio.wait_for(ran.ended.wait(), ENDED_S)
    return ran


async def announced(bus: Bus, node_id: str) -> NodeAnnounced:
    """What a node says of itself, as soon as it does."""
    nodes = await bus.bucket(subjects.NODES_BUCKET)
    deadline_s = time.monotonic() + 60
    while (found := await nodes.get(node_id)) is None:
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.1)
    assert isinstance(found[0], NodeAnnounced)
    return found[0]


async def test_a_job_runs_in_its_manifests_container(
    engine: Any, image: str, bus: Bus, node: Node
) -> None:
    seen = await announced(bus, "n1")
    assert seen.containers and "containers" not in seen.unavailable

    levels = [
        Run(index=i, batch_size=1, level=level, queries=3, warmup=0)
        for i, level in enumerate(("model", "framework"))
    ]
    ran = await run(bus, f"container:{image}", runs=levels, level="framework")
    assert isinstance(ran.told[-1], JobFinished), ran.told[-1]
    assert len(ran.all(RunMeasured)) == 2
    classes = ran.one(PredictionsMade).predictions[0].classes
    assert (classes[0].label, classes[0].probability) == ("espresso", pytest.approx(0.95, abs=0.01))
    assert len(ran.one(GraphDescribed).layers) > 50  # the framework's own profiler works inside
    assert ran.told[-1].spans["framework"] > 150

    told = ran.one(StackDescribed)
    about = json.loads(engine.docker("image", "inspect", image))[0]
    assert told.environment == f"container:{image}"
    assert (told.stack.image, told.stack.digest) == (image, about["Id"])
    assert told.stack.layers == about["RootFS"]["Layers"]
    assert told.stack.packages["onnxruntime"] == onnxruntime.__version__
    assert "torch" not in told.stack.packages  # of the image, not of this machine
    assert told.stack.system_packages == {"libc6": "2.36-9", "tzdata": "1"}
    assert told.stack.variables["GREETING"] == "hello"
    assert "libc" in told.stack.libraries
    settings = ran.all(ModelOpened)[0].settings
    assert (settings["container.memory"], settings["container.network"]) == (2 << 30, "off")

    first = node.status()["workers"]
    again = await run(bus, f"container:{image}")
    assert isinstance(again.told[-1], JobFinished)
    assert again.one(ModelOpened).cached  # warm: the same container, the model still open in it
    assert node.status()["workers"] == first


CODE = """
import os, socket

def run(context, data):
    found = {{}}
    for name, what in {what!r}.items():
        try:
            exec(what, {{"os": os, "socket": socket}})
            found[name] = "could"
        except Exception as error:
            found[name] = type(error).__name__
    raise RuntimeError("found " + repr(found))
"""


def with_code(text: str) -> Manifest:
    return replace(MANIFEST, before_preprocess=text)


async def test_what_is_inside_can_reach_nothing_outside(
    image: str, bus: Bus, node: Node, wheels: Path
) -> None:
    other = wheels / "assets" / "inline" / "secret"
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_text("another user's")
    tries = {
        "root": "open('/outside', 'w')",
        "library": "open(os.path.dirname(os.__file__) + '/os.py', 'a')",
        "model": f"open({str(wheels)!r} + '/assets/x', 'w')",
        "others": f"open({str(other)!r})",
        "network": "socket.create_connection(('192.0.2.1', 80), 1)",
        "chown": "os.chown('/tmp', 1, 1)",
        "tmp": "open('/tmp/mine', 'w')",
    }
    ran = await run(bus, f"container:{image}", with_code(CODE.format(what=tries)))
    text = ran.one(JobFailed).text
    assert "found {'root': 'OSError'" in text, text
    for name in ("root", "library", "model", "network"):
        assert f"'{name}': 'OSError'" in text or f"'{name}': 'FileNotFoundError'" in text, text
    assert "'others': 'FileNotFoundError'" in text and "'chown': 'PermissionError'" in text
    assert "'tmp': 'could'" in text  # a tmpfs, which goes with the container
    other.unlink()


async def test_a_container_that_needs_too_much_memory(image: str, bus: Bus, node: Node) -> None:
    hungry = with_code("def run(context, data):\n    return bytearray(400 << 20)\n")
    settings = {"device": "cpu", "threads": 1, "container.memory": "200MiB"}
    ran = await run(bus, f"container:{image}", hungry, settings=settings)
    failed = ran.one(JobFailed)
    assert failed.kind == "out_of_memory"
    assert "needed more memory than its 200 MiB" in failed.text and "137" in failed.text
    assert isinstance((await run(bus, f"container:{image}")).told[-1], JobFinished)


async def test_cpus_and_memory_are_limited(engine: Any, image: str, bus: Bus, node: Node) -> None:
    settings = {"device": "cpu", "container.memory": "1GiB", "container.cpus": "0.5"}
    ran = await run(bus, f"container:{image}", settings=settings)
    assert isinstance(ran.told[-1], JobFinished)
    opened = ran.one(ModelOpened).settings
    assert (opened["container.memory"], opened["container.cpus"]) == (1 << 30, 0.5)
    (container,) = containers(engine)
    about = json.loads(engine.docker("inspect", container))[0]["HostConfig"]
    assert (about["Memory"], about["NanoCpus"]) == (1 << 30, 500_000_000)
    assert about["NetworkMode"] == "none" and about["ReadonlyRootfs"]
    assert about["CapDrop"] == ["ALL"] and about["SecurityOpt"] == ["no-new-privileges"]
    assert not about["Privileged"] and about["PidsLimit"] == 4096

    node._provision.allowed = Allowed(2 << 30, network=True)
    ran = await run(bus, f"container:{image}", settings={"container.network": "on"})
    assert isinstance(ran.told[-1], JobFinished)
    (container,) = containers(engine)
    assert engine.docker("inspect", "--format={{.HostConfig.NetworkMode}}", container) == "bridge\n"


SLEEPS = "import time\ndef run(context, data):\n    time.sleep(60)\n"


async def until(ran: Ran, kind: type[Any]) -> None:
    deadline_s = time.monotonic() + ENDED_S
    while not ran.all(kind):
        assert time.monotonic() < deadline_s and not ran.ended.is_set(), ran.told
        await asyncio.sleep(0.05)


async def test_cancelling_ends_what_never_returns(
    engine: Any, image: str, bus: Bus, node: Node
) -> None:
    await run(bus, f"container:{image}")  # so that it is warm
    ran = await begin(bus, f"container:{image}", with_code(SLEEPS))
    await until(ran, JobStarted)
    await asyncio.sleep(1.0)
    began_s = time.monotonic()
    await ran.cancel()
    await asyncio.wait_for(ran.ended.wait(), 5)
    assert ran.one(JobFailed).kind == "cancelled"
    while engine.docker("ps", "--quiet").split():  # nothing runs any more …
        assert time.monotonic() - began_s < 10.0  # … long before it would have ended by itself …
    while containers(engine):  # … and then it is tidied up, which takes the engine a while
        assert time.monotonic() - began_s < 50.0
        await asyncio.sleep(0.1)


async def test_a_worker_killed_inside_is_one_failed_attempt(
    engine: Any, image: str, bus: Bus, node: Node
) -> None:
    ran = await begin(bus, f"container:{image}", with_code(SLEEPS))
    await until(ran, JobStarted)
    while not ran.ended.is_set():  # one that dies while it starts is started again
        await asyncio.sleep(4.0)
        for one in containers(engine, "worker"):
            with suppress(subprocess.CalledProcessError):  # it is gone already
                engine.docker("kill", one)
        with suppress(TimeoutError):
            await asyncio.wait_for(ran.ended.wait(), 4.0)
    failed = ran.one(JobFailed)
    assert (failed.kind, "killed by signal 9" in failed.text) == ("worker_died", True), failed


async def test_a_node_that_is_killed_leaves_nothing_behind(
    engine: Any, image: str, bus: Bus, bus_url: str, make_node: MakeNode
) -> None:
    process = make_node()
    await announced(bus, "n1")
    ran = await begin(bus, f"container:{image}", with_code(SLEEPS))
    while not (there := containers(engine, "worker")):
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline_s = time.monotonic() + 5
    while engine.docker("ps", "--quiet").split():  # nobody holds the line: it ends by itself
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.1)
    assert containers(engine) == there  # and lies there until its node comes back
    again = make_node()
    deadline_s = time.monotonic() + 30
    while containers(engine):
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.1)
    again.terminate()
    assert again.wait(30) == 0
    assert not ran.ended.is_set()


WRONG: list[tuple[str, dict[str, str | int], str, str]] = [
    ("container:mlms-nowhere:1", {}, "container", "mlms-nowhere:1 is not on this node and cannot"),
    ("container:mlms-arm:test", {}, "container", "was made for arm64, and this node is"),
    ("container:mlms-bare:test", {}, "container", "No module named 'numpy'"),
    ("container:mlms-empty:test", {}, "container", "has no Python (python3 or python"),
    ("container:mlms-old:test", {}, "container", "Python 3.8 is too old: a worker needs 3.11"),
    ("container:{image}", {"container.memory": "8MiB"}, "input", "expected 32 MiB to 2048 MiB"),
    ("container:{image}", {"container.memory": "64GiB"}, "input", "expected 32 MiB to 2048 MiB"),
    ("container:{image}", {"container.cpus": "900"}, "input", "expected a number of CPUs up to"),
    ("container:{image}", {"container.network": "on"}, "input", "lets no container use the net"),
    ("container:{image}", {"container.gpus": "1"}, "input", "container.gpus: a container has the"),
    (
        "container:{image}",
        {"container.memory": "40MiB"},
        "out_of_memory",
        "more memory than its 40",
    ),
    ("default", {"container.memory": "1GiB"}, "input", "in no container: ask with --container"),
    ("dockerfile:0123456789abcdef", {}, "framework", "builds no images any more: ask again"),
    ("pip:onnxruntime==1.20.1", {}, "framework", "has no environment pip:onnxruntime==1.20.1"),
]


@pytest.fixture(scope="module")
def wrong_images(engine: Any, image: str, machine: Any, tmp_path_factory: Any) -> Iterator[None]:
    old = tmp_path_factory.mktemp("old") / "sitecustomize.py"
    # No older Python is here: one that says it is.
    old.write_text("import sys\nsys.version_info = (3, 8, 18, 'final', 0)\n")
    site = f"{machine.site}/sitecustomize.py"
    engine.add(BARE, "mlms-old:test", {site: old})
    engine.make_image("mlms-empty:test", {"/bin/sh": Path("/bin/sh")})
    foreign(engine, "mlms-empty:test", "mlms-arm:test", tmp_path_factory.mktemp("arm"))
    yield
    engine.forget(*(f"mlms-{kind}:test" for kind in ("old", "empty", "arm")))


def foreign(engine: Any, tag: str, other: str, folder: Path) -> None:
    """An image that says that it was made for another architecture."""
    engine.docker("save", f"--output={folder}/saved.tar", tag)
    with tarfile.open(folder / "saved.tar") as saved:
        saved.extractall(folder, filter="data")
    (about,) = json.loads((folder / "manifest.json").read_text())
    config = json.loads((folder / about["Config"]).read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architecture": "arm64"}))
    changed = {**about, "Config": "config.json", "RepoTags": [other]}
    (folder / "manifest.json").write_text(json.dumps([changed]))
    with tarfile.open(folder / "loaded.tar", "w") as loaded:
        for name in ("config.json", "manifest.json", *about["Layers"]):
            loaded.add(folder / name, name)
    engine.docker("load", f"--input={folder}/loaded.tar")


async def test_what_cannot_run_says_why(
    image: str, wrong_images: None, bus: Bus, node: Node
) -> None:
    wrong = {}
    for environment, settings, kind, words in WRONG:
        asked = {"device": "cpu", "threads": 1, **settings}
        ran = await run(bus, environment.format(image=image), settings=asked)
        failed = ran.one(JobFailed)
        if failed.kind != kind or words not in failed.text:
            wrong[environment, *settings] = f"{failed.kind}: {failed.text}"
    assert not wrong
    for name in ("bare", "old", "empty"):  # nothing is retried that cannot go better
        request = DescribeImage(image=f"mlms-{name}:test")
        answer = await bus.request(subjects.image_on("n1"), request, ImageDescribed, Refused)
        assert isinstance(answer, Refused) and answer.kind == "container"


async def test_a_model_is_held_open_in_a_container(
    engine: Any, image: str, bus: Bus, node: Node
) -> None:
    request = OpenHere(
        manifest=MANIFEST,
        framework="onnxruntime",
        environment=f"container:{image}",
        settings={"device": "cpu", "threads": 1},
    )
    opened = await bus.request(subjects.open_on("n1"), request, Opened, Refused, timeout_s=60)
    assert isinstance(opened, Opened), opened
    given = Input(name="coffee.png", url=COFFEE.url, checksum=COFFEE.checksum)
    ask = Predict(handle=opened.handle, inputs=[given], top_k=1)
    said = await bus.request(subjects.predict_on("n1"), ask, Predicted, timeout_s=60)
    assert said.predictions[0].classes[0].label == "espresso"
    assert len(containers(engine, "worker")) == 1


async def test_an_image_is_described_without_a_job(image: str, bus: Bus, node: Node) -> None:
    request = DescribeImage(image=image)
    said = await bus.request(subjects.image_on("n1"), request, ImageDescribed, timeout_s=60)
    assert said.stack.packages["onnxruntime"] == onnxruntime.__version__
    assert (said.node_id, said.stack.image) == ("n1", image)


async def test_a_node_may_be_told_to_run_none(bus: Bus, tmp_path: Path, wheels: Path) -> None:
    env = {"MLMS_NODE_ID": "n1", "MLMS_HOME": str(tmp_path), "MLMS_CACHE": str(wheels)}
    node = Node(bus, settings_from(Settings, {**env, "MLMS_CONTAINERS": "never"}))
    await node.start()
    try:
        found = await announced(bus, "n1")
        assert not found.containers and "MLMS_CONTAINERS=never" in found.unavailable["containers"]
        assert "no environment container:x" in (await run(bus, "container:x")).one(JobFailed).text
    finally:
        await node.stop()


@pytest.fixture
def mlms(engine: Any, wheels: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`mlmodelscope …` on an embedded system of its own, whose node may use the engine."""
    env = {k: v for k, v in engine.env.items() if not k.startswith("MLMS_")}
    own = {"MLMS_HOME": str(tmp_path / "home"), "MLMS_CACHE": str(wheels), "COLUMNS": "150"}
    own["MLMS_BUILD_IMAGES"] = "1"

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mlmodelscope", *map(str, words)]
        return subprocess.run(
            command, env=env | own, capture_output=True, text=True, timeout=120, cwd=tmp_path
        )

    from mlmodelscope import embedded

    with embedded.joined(tmp_path / "home", env | own):
        yield run


def test_as_a_person_types_it(engine: Any, image: str, mlms: Any, tmp_path: Path) -> None:
    shipped_file = Path(__file__).parents[2] / "manifests/models/efficientnet-lite0.yml"
    text = shipped_file.read_text()
    shutil.copy(shipped_file.with_suffix(".onnx"), tmp_path)
    images = f"container: {{amd64: {{cpu: '{image}'}}, arm64: {{cpu: '{image}'}}}}\n"
    (tmp_path / "boxed.yml").write_text(text + images)
    built = f"dockerfile: |\n  FROM {image}\n  ENV GREETING=goodbye OMP_NUM_THREADS=1\n"
    (tmp_path / "built.yml").write_text(text + built)
    quick = ("--runs", 5, "--warmup", 1, "--threads", 1)

    plain = mlms("evaluate", "boxed.yml", *quick, "--output", "json")
    assert plain.returncode == 0, plain.stderr
    assert json.loads(plain.stdout)["environment"] == "default"  # the node has the framework

    limited = ("--container", "--setting", "container.memory=1GiB")
    done = mlms("evaluate", "boxed.yml", *quick, *limited, "--trace", "system", "--output", "json")
    assert done.returncode == 0, done.stderr
    deep = json.loads(done.stdout)
    assert deep["environment"] == f"container:{image}"
    assert deep["spans"]["framework"] > 500 and deep["spans"]["system"]
    assert "perf_event_open is not permitted" in deep["unavailable"]["system"]
    words = " ".join(mlms("show", "last").stdout.split())
    assert f"environment container:{image}" in words and "espresso" in words
    assert "1.0 GiB" in words and "no network" in words

    models = shipped_file.parent
    for name in ("mnist-cnn.onnx", "digits.txt", "samples"):
        take = shutil.copytree if (models / name).is_dir() else shutil.copy
        take(models / name, tmp_path / name)
    (tmp_path / "digits.yml").write_text((models / "mnist-cnn.yml").read_text() + images)
    passed = [
        json.loads(mlms("accuracy", *words, "--limit", 40, "--output", "json").stdout)
        for words in (
            ("digits.yml", "--dataset", "MNIST-5k", "--container"),
            ("digits.yml", "--dataset", "MNIST-5k"),
        )
    ]
    one, other = (of_both["accuracy"][0] for of_both in passed)
    assert one["classification"] == other["classification"] and one["items"] == 40
    assert one["framework_version"] == onnxruntime.__version__
    rows = json.loads(mlms("history", "--limit", 2, "--output", "json").stdout)
    assert {row["framework"] for row in rows} == {f"onnxruntime {onnxruntime.__version__}"}

    made = mlms("evaluate", "built.yml", *quick, "--container", "--output", "json")
    assert made.returncode == 0, made.stderr
    result = json.loads(made.stdout)
    assert result["environment"].startswith("dockerfile:")
    assert result["stack"]["variables"]["GREETING"] == "goodbye"

    shown = mlms("image", "diff", "last", image, "--output", "json")
    assert shown.returncode == 0, shown.stderr
    rows = json.loads(shown.stdout)["differences"]
    assert {(row["kind"], row["name"]): (row["a"], row["b"]) for row in rows}.items() >= {
        ("variable", "GREETING"): ("goodbye", "hello"),
        ("variable", "OMP_NUM_THREADS"): ("1", ""),
    }.items()
    assert not [row for row in rows if row["kind"] == "package"]

    before = json.loads(plain.stdout)["evaluation_id"]
    table = mlms("image", "diff", before, "last")
    assert table.returncode == 0 and "torch" in table.stdout  # which this machine has, beside it

    for words, code, says in (
        (("image", "diff", "last", "mlms-nowhere:1"), 3, "mlms-nowhere:1 is not on this node"),
        (("image", "diff", "ffffffff", "last"), 3, "ffffffff"),
        (("evaluate", "EfficientNet-Lite0", "--container"), 3, "a manifest that names none"),
    ):
        done = mlms(*words)
        assert (done.returncode, says in " ".join(done.stderr.split())) == (code, True), done.stderr
    engine.forget(f"mlmodelscope-built:{result['environment'][11:]}")
