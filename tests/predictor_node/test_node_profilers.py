"""A node with profilers on a real bus: which levels it announces, and runs that need variables."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from bus import subjects
from bus.connection import Bus
from bus.messages import (
    GraphDescribed,
    Input,
    Job,
    JobFailed,
    JobFinished,
    JobRecord,
    Message,
    MetricsRecorded,
    NodeAnnounced,
    PredictionsMade,
    Run,
    RunMeasured,
)
from bus.service import settings_from
from manifests.catalog import shipped
from predictor_node.legs import Leg, joined, split
from predictor_node.node import Node, Settings

(MANIFEST,) = [
    manifest
    for manifest in shipped()
    if manifest.name == "EfficientNet-Lite0" and manifest.framework.name == "onnxruntime"
]
COFFEE = MANIFEST.samples[0]
VERBOSE = '''
"""Needs a variable that a library reads when it is loaded."""
import os
from contextlib import contextmanager
LEVEL = "library"

def available():
    return ""

def environment(settings):
    return {"A_LIBRARY_VERBOSE": settings.get("words", "1")}

@contextmanager
def profile(session):
    yield
    session.add_sample("pid", "", LEVEL, session.now_ns(), os.getpid())
    session.add_sample("verbose", "", LEVEL, session.now_ns(), int(os.environ["A_LIBRARY_VERBOSE"]))
'''
UNABLE = """
LEVEL = "hardware"

def available():
    return "there is no such thing here"

def profile(session):
    raise AssertionError
"""


@pytest.fixture
async def node(bus: Bus, tmp_path: Path, wheels: Path) -> AsyncIterator[Node]:
    files = {"verbose": VERBOSE, "unable": UNABLE, "broken": "LEVEL = 7"}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    env = {
        "MLMS_NODE_ID": "n1",
        "MLMS_HOME": str(tmp_path),
        "MLMS_CACHE": str(wheels),
        "MLMS_PROFILERS": ",".join(f"{name}={tmp_path}/{name}.py" for name in files),
    }
    made = Node(bus, settings_from(Settings, env))
    await made.start()
    yield made
    await made.stop()


async def ran(bus: Bus, **changes: Any) -> tuple[list[Message], list[MetricsRecorded]]:
    """Everything that the node tells of a job, and the samples."""
    evaluation_id = uuid.uuid4().hex
    levels = ("model", "framework", "library", "system")
    job = Job(
        job_id=f"{evaluation_id}-0",
        evaluation_id=evaluation_id,
        user="ann",
        node_id="n1",
        manifest=MANIFEST,
        framework="onnxruntime",
        framework_version=onnxruntime.__version__,
        inputs=[Input(name="coffee.png", url=COFFEE.url, checksum=COFFEE.checksum)],
        runs=[
            Run(index=index, batch_size=1, level=level, queries=2, warmup=0)
            for index, level in enumerate(levels)
        ],
        level="hardware",
        settings={"threads": 1, "profile.words": 7},
    )
    told: list[Message] = []
    metrics: list[MetricsRecorded] = []
    ended = asyncio.Event()

    async def hear(_: str, fact: Message) -> None:
        told.append(fact)
        if isinstance(fact, JobFinished | JobFailed):
            ended.set()

    async def sampled(_: str, batch: Message) -> None:
        assert isinstance(batch, MetricsRecorded)
        metrics.append(batch)

    listening = await bus.listen(subjects.facts_of(evaluation_id), hear)
    sampling = await bus.listen(subjects.metric("n1", "ann", evaluation_id), sampled)
    jobs = await bus.bucket(subjects.JOBS_BUCKET)
    await jobs.create(job.job_id, JobRecord(job=job, node_id="n1"))
    await bus.record(subjects.job("n1"), job)
    await asyncio.wait_for(ended.wait(), 60)
    for one in (listening, sampling):
        await one.stop()
    return told, metrics


async def test_a_node_announces_what_its_profilers_serve(bus: Bus, node: Node) -> None:
    found = await (await bus.bucket(subjects.NODES_BUCKET)).get("n1")
    assert found is not None and isinstance(announced := found[0], NodeAnnounced)
    (seen,) = [one for one in announced.frameworks if one.name == "onnxruntime"]
    assert "library" in seen.levels and "none" not in seen.levels
    if "hardware" not in seen.levels:
        assert "unable: there is no such thing here" in announced.unavailable["hardware"]
    assert "LEVEL is 7" in announced.unavailable["profiler broken"]


async def test_runs_that_need_variables_have_a_process_of_their_own(bus: Bus, node: Node) -> None:
    told, metrics = await ran(bus)
    end = told[-1]
    assert isinstance(end, JobFinished), end
    own = node.status()["workers"]
    assert isinstance(own, dict)
    mine = [batch for batch in metrics if batch.source == "worker" and batch.name == "pid"]
    assert [batch.run for batch in mine] == [2, 3] and {b.level for b in mine} == {"library"}
    assert own["default"] not in {value for batch in mine for value in batch.values}
    assert len({value for batch in mine for value in batch.values}) == 1
    assert not Path(f"/proc/{mine[0].values[0]:.0f}").exists()
    words = [batch.values for batch in metrics if batch.name == "verbose"]
    assert words == [[7.0], [7.0]] and "A_LIBRARY_VERBOSE" not in os.environ
    assert [fact.run for fact in told if isinstance(fact, RunMeasured)] == [0, 1, 2, 3]
    for once in (PredictionsMade, GraphDescribed):
        assert len([fact for fact in told if isinstance(fact, once)]) == 1
    assert "unable: there is no such thing here" in end.unavailable["hardware"]
    # The profiler of the test had something to say; what the package brings says why it cannot.
    assert end.unavailable["library"].endswith("say nothing of the calls inside a layer")


def run(index: int, level: Any) -> Run:
    return Run(index=index, batch_size=1, level=level, queries=1, warmup=0)


def test_runs_are_split_by_their_variables() -> None:
    levels: list[Any] = ["model", "framework", "library", "model", "library", "hardware"]
    runs = [run(index, level) for index, level in enumerate(levels)]
    verbose, other = {"V": "1"}, {"V": "1", "W": "2"}
    legs = split(runs, [{}, {}, verbose, {}, verbose, other])
    assert [([one.index for one in leg.runs], leg.variables) for leg in legs] == [
        ([0, 1, 3], {}),
        ([2, 4], verbose),
        ([5], other),
    ]


def test_what_a_level_lacks_is_said_by_the_process_that_looked() -> None:
    def end(lost: int, peak: int, drift_ns: int, **unavailable: str) -> dict[str, Any]:
        clock = {"drift_ns": drift_ns}
        about = {"lost": lost, "peak_memory_bytes": peak, "clock": clock}
        return {**about, "unavailable": unavailable}

    first = end(1, 70, -5, library="not looked", framework="in part: a")
    second = end(2, 50, 3, library="in part: b", framework="c", system="d")
    ends = [(Leg([run(0, "framework")]), first), (Leg([run(1, "library")], {"V": "1"}), second)]
    assert joined(ends) == {
        "lost": 3,
        "peak_memory_bytes": 70,
        "drift_ns": -5,
        "unavailable": {"library": "in part: b", "framework": "in part: a", "system": "d"},
    }
