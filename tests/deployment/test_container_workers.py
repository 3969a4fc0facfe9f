"""A manifest's container on a real Docker engine: the worker inside, its limits, its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
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
    Progress,
    Refused,
    Run,
    RunMeasured,
    StackDescribed,
)
from bus.service import settings_from
from manifests.catalog import shipped
from predictor_node.node import Node, Settings

pytestmark = pytest.mark.timeout(300)
IMAGE = "mlms-worker:test"
(MANIFEST,) = [
    m for m in shipped() if (m.name, m.framework.name) == ("EfficientNet-Lite0", "onnxruntime")
]
COFFEE = MANIFEST.samples[0]


@pytest.fixture(scope="module")
def image(engine: Any, machine: Any, tmp_path_factory: Any) -> Iterator[str]:
    """ONNX Runtime and what a worker needs, as a base image of Python would hold them."""
    status = tmp_path_factory.mktemp("status") / "status"
    status.write_text(
        "Package: libc6\nStatus: ok\nVersion: 2.36-9\n\nPackage: tzdata\nVersion: 1\n"
    )
    files = {"/bin/sh": Path("/bin/sh"), "/var/lib/dpkg/status": status}
    files |= dict(machine.python()) | dict(machine.packages("onnxruntime", "msgpack", "pillow"))
    engine.make_image(IMAGE, files)
    change(engine, IMAGE, "ENV PATH=/usr/local/bin:/bin GREETING=hello")
    yield IMAGE
    engine.docker("image", "rm", "--force", IMAGE)


def change(engine: Any, tag: str, *changes: str, base: str = "") -> str:
    """The image with other settings."""
    container = engine.docker("create", base or tag, "true").strip()
    engine.docker("commit", *(f"--change={one}" for one in changes), container, tag)
    engine.docker("rm", container)
    return tag


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


def containers(engine: Any) -> list[str]:
    return str(engine.docker("ps", "--all", "--quiet", "--filter=label=mlmodelscope.role")).split()


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
    await asyncio.wait_for(ran.ended.wait(), 60)
    return ran


async def test_a_job_runs_in_its_manifests_container(
    engine: Any, image: str, bus: Bus, node: Node
) -> None:
    found = await (await bus.bucket(subjects.NODES_BUCKET)).get("n1")
    assert found is not None
    announced = found[0]
    assert isinstance(announced, NodeAnnounced) and announced.containers
    assert "containers" not in announced.unavailable

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
