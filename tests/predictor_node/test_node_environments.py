"""A node with two environments on a real bus: what it announces, and jobs for one that is gone."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import onnxruntime
import pytest

from bus import subjects
from bus.connection import Bus
from bus.messages import (
    Input,
    Job,
    JobFailed,
    JobFinished,
    JobRecord,
    Message,
    ModelOpened,
    NodeAnnounced,
    Run,
)
from bus.service import settings_from
from manifests.catalog import shipped
from predictor_node.node import Node, Settings

(MANIFEST,) = [
    manifest
    for manifest in shipped()
    if (manifest.name, manifest.framework.name) == ("EfficientNet-Lite0", "onnxruntime")
]
COFFEE = MANIFEST.samples[0]


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    """This Python under another name: what is installed here is installed there."""
    path = tmp_path / "twin"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
async def node(bus: Bus, twin: Path, tmp_path: Path, wheels: Path) -> AsyncIterator[Node]:
    env = {
        "MLMS_NODE_ID": "n1",
        "MLMS_HOME": str(tmp_path),
        "MLMS_CACHE": str(wheels),
        "MLMS_ENVIRONMENTS": f"twin={twin}, lost={tmp_path}/lost",
        "MLMS_ALLOW_CODE": "1",
    }
    made = Node(bus, settings_from(Settings, env))
    await made.start()
    yield made
    await made.stop()


async def ran(bus: Bus, environment: str) -> list[Message]:
    """Everything that the node tells of a job for this environment."""
    evaluation_id = uuid.uuid4().hex
    job = Job(
        job_id=f"{evaluation_id}-0",
        evaluation_id=evaluation_id,
        user="ann",
        node_id="n1",
        manifest=MANIFEST,
        framework="onnxruntime",
        framework_version=onnxruntime.__version__,
        environment=environment,
        inputs=[Input(name="coffee.png", url=COFFEE.url, checksum=COFFEE.checksum)],
        runs=[Run(index=0, batch_size=1, level="model", queries=2, warmup=0)],
        settings={"threads": 1},
    )
    told: list[Message] = []
    ended = asyncio.Event()

    async def hear(_: str, fact: Message) -> None:
        told.append(fact)
        if isinstance(fact, JobFinished | JobFailed):
            ended.set()

    listening = await bus.listen(subjects.facts_of(evaluation_id), hear)
    jobs = await bus.bucket(subjects.JOBS_BUCKET)
    await jobs.create(job.job_id, JobRecord(job=job, node_id="n1"))
    await bus.record(subjects.job("n1"), job)
    await asyncio.wait_for(ended.wait(), 30)
    await listening.stop()
    return told


async def test_a_node_announces_what_all_its_environments_have(bus: Bus, node: Node) -> None:
    found = await (await bus.bucket(subjects.NODES_BUCKET)).get("n1")
    assert found is not None
    announced = found[0]
    assert isinstance(announced, NodeAnnounced) and announced.allow_code
    builds = {(seen.environment, seen.name, seen.version) for seen in announced.frameworks}
    for environment in ("default", "twin"):
        assert (environment, "onnxruntime", onnxruntime.__version__) in builds
    assert "lost cannot be started" in announced.unavailable["environment lost"]
    environments = node.status()["environments"]
    assert isinstance(environments, dict) and list(environments) == ["default", "twin"]


async def test_jobs_run_where_they_are_told_to(bus: Bus, node: Node, twin: Path) -> None:
    for environment in ("twin", "default"):
        told = await ran(bus, environment)
        assert isinstance(told[-1], JobFinished), told[-1]
        (opened,) = [fact for fact in told if isinstance(fact, ModelOpened)]
        assert opened.framework_version == onnxruntime.__version__
    workers = node.status()["workers"]
    assert isinstance(workers, dict) and len(set(workers.values())) == 2  # one an environment

    (failed,) = [fact for fact in await ran(bus, "lost") if isinstance(fact, JobFailed)]
    assert failed.kind == "framework" and "only: default, twin" in failed.text

    await node._workers["twin"].kill()
    twin.unlink()  # somebody has deleted the environment while the node runs
    (failed,) = [fact for fact in await ran(bus, "twin") if isinstance(fact, JobFailed)]
    assert failed.kind == "worker_died" and "environment twin needs a Python there" in failed.text
    assert isinstance((await ran(bus, "default"))[-1], JobFinished)
