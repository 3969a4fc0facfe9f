"""nodes --fits, several nodes, the queue and grids, as a person types them, on a running system."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.errors import MLModelScopeError
from bus.messages import RunMeasured
from mlmodelscope.client import Client
from mlmodelscope.grids import read_grid
from mlmodelscope.on_nodes import Nodes

MODEL = "MNIST-CNN"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def typed(whole_fleet: Any, tmp_path: Path) -> Run:
    """Types a command against the fleet: two nodes on this one machine."""
    second = whole_fleet.start("node", "--id", "second", "--labels", "price=2,site=basel")
    second.wait_until_ready()
    env = os.environ | {"MLMS_BUS_URL": whole_fleet.bus_url, "COLUMNS": "160"}

    def run(*arguments: str, **options: Any) -> Any:
        command = [sys.executable, "-m", "mlmodelscope", *arguments]
        if options.pop("begin", False):
            pipe = subprocess.PIPE
            return subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True)
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)

    return run


async def measured(url: str, evaluation: str) -> list[tuple[int, int]]:
    """When each run of a stored evaluation began and ended."""
    async with Client(url) as scope:
        _, facts, _ = await scope.stored(evaluation)
    return [
        (run.start_ns, run.start_ns + run.starts_ns[-1] + run.durations_ns[-1])
        for run in facts
        if isinstance(run, RunMeasured)
    ]


def test_what_fits_is_answered_first_then_every_node_runs_it(typed: Run, whole_fleet: Any) -> None:
    """Exactly the nodes that match are chosen, and `all` runs on each of them at once."""
    done = typed("nodes", "--fits", "label.price<=3, python>=3.10, package.numpy>=1")
    assert done.returncode == 0 and "1 of 2 nodes fit" in done.stdout, done.stderr
    assert "site" not in done.stdout and "label.price" in done.stdout
    found = typed("nodes", "--fits", "gpu.memory>=16GiB, cores>=1", "--output", "json")
    assert found.returncode == 3
    (group,) = json.loads(found.stdout)["misfits"]
    failures = [(f["constraint"], f["wanted"], f["has"]) for f in group["failures"]]
    assert failures == [("gpu.memory", ">=16GiB", "no gpu")] and group["count"] == 2
    wrong = typed("nodes", "--fits", "gpu.mem>=16GiB")
    assert wrong.returncode == 2 and "did you mean gpu.memory" in wrong.stderr
    empty = typed("queue")
    assert (empty.returncode, empty.stdout.strip()) == (0, "nothing runs and nothing waits")
    quick = ("--runs", "5", "--warmup", "0", "--threads", "1", "--output", "json")
    done = typed("evaluate", MODEL, "--framework", "onnxruntime", "--nodes", "all", *quick)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len({row["node"] for row in rows}) == len(rows) == 2
    assert len({row["evaluation"] for row in rows}) == 1
    assert {row["says"].split()[0] for row in rows} == {"7"}
    first, second = sorted(asyncio.run(measured(whole_fleet.bus_url, rows[0]["evaluation"])))
    assert first[1] <= second[0], "two nodes of one machine measured at once"
    cheap = typed("evaluate", MODEL, "--prefer", "cheapest", *quick)
    assert json.loads(cheap.stdout)["node_id"] == "second", cheap.stderr
    few = typed("evaluate", MODEL, "--nodes", "3", "--framework", "onnxruntime")
    assert few.returncode == 3 and "3 nodes are wanted and 2 fit" in few.stderr


def test_a_grid_and_logs_on_every_node(typed: Run, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    load = ("--scenario", "offline", "--min-duration", "0.1", "--min-queries", "5")
    several = ("--nodes", "all", "--mlperf-logs", str(logs), "--output", "json")
    done = typed("evaluate", MODEL, "--framework", "onnxruntime", *load, *several)
    assert done.returncode == 0, done.stderr
    nodes = {row["node"] for row in json.loads(done.stdout)}
    assert {path.name for path in logs.iterdir()} == nodes and len(nodes) == 2
    for node in nodes:
        detail = (logs / node / "mlperf_log_detail.txt").read_text()
        assert node in (logs / node / "mlperf_log_summary.txt").read_text() and detail
    unlogged = ("--mlperf-logs", str(logs), "--nodes", "all")
    wrong = typed("evaluate", MODEL, *unlogged, "--scenario", "burst", "--target-qps", "50")
    assert wrong.returncode == 2 and "expected a scenario of MLPerf" in wrong.stderr
    file = tmp_path / "grid.yml"
    common = f"models: {MODEL}\nframeworks: onnxruntime\nruns: 3\nwarmup: 0\nthreads: 1\n"
    for asked, ran in (("all", nodes), ("1", {"second"}), ("[1, second]", {"second"})):
        file.write_text(f"{common}nodes: {asked}\nprefer: cheapest\n")
        done = typed("grid", str(file), "--output", "json")
        assert done.returncode == 0, done.stderr
        assert {row["node"] for row in json.loads(done.stdout)} == ran
    file.write_text(f"{common}nodes: 3\n")
    few = typed("grid", str(file))
    assert few.returncode == 2 and "3 are wanted for MNIST-CNN, and 2 fit" in few.stderr


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"nodes": "0"}, "expected any, all or a number from 1"),
        ({"nodes": "some"}, "expected any, all or a number from 1"),
        ({"prefer": "quick"}, "unknown preference 'quick'; there is: cheapest, fastest"),
        ({"wait": -1.0}, "expected seconds from 0"),
    ],
)
def test_options_that_mean_nothing(given: dict[str, Any], says: str) -> None:
    with pytest.raises(MLModelScopeError, match=says):
        Nodes(**given).asked()


def test_a_grid_goes_on_where_it_was_interrupted(
    typed: Run, whole_fleet: Any, tmp_path: Path
) -> None:
    file = tmp_path / "grid.yml"
    file.write_text(
        f"models: {MODEL}\nframeworks: onnxruntime\nbatch_sizes: [1, 2, 3, 4, 5]\n"
        "runs: 20000\nwarmup: 0\nthreads: 1\nprecisions: float32\n"
    )
    begun = typed("grid", str(file), "--output", "json", begin=True)

    async def finished(least: int) -> set[str]:
        deadline_s = time.monotonic() + 90
        async with Client(whole_fleet.bus_url) as scope:
            while True:
                rows = await scope.history(state="finished")
                if len(rows) >= least or time.monotonic() > deadline_s:
                    return {row.evaluation_id for row in rows}
                await asyncio.sleep(0.1)

    assert len(asyncio.run(finished(2))) < 5, "it ended before it could be interrupted"
    begun.send_signal(signal.SIGINT)
    _, told = begun.communicate(timeout=60)
    assert begun.returncode == 130
    assert "of 5 cells are done: the same command goes on from there" in told
    before = asyncio.run(finished(0))
    again = typed("grid", str(file), "--runs", "20000", "--output", "json")
    assert again.returncode == 0, again.stderr
    rows = json.loads(again.stdout)
    assert [row["batch_size"] for row in rows] == [1, 2, 3, 4, 5]
    assert {row["evaluation"] for row in rows if row["before"]} == before
    assert len({row["evaluation"] for row in rows}) == 5 and len(before) < 5
    assert all(row["p50_ns"] > 0 and not row["problem"] for row in rows)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models: []\n", "models: expected at least one"),
        ("models: a\nbatchsizes: [1]\n", "grid.yml:2: unknown field 'batchsizes'; did you mean"),
        ("models: a\nbatch_sizes: [one]\n", "batch_sizes"),
        ("frameworks: [x]\n", "models"),
    ],
)
def test_a_faulty_grid_says_what_and_where(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "grid.yml"
    file.write_text(text)
    with pytest.raises(MLModelScopeError, match=says):
        read_grid(file)
