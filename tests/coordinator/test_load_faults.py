"""Which loads are refused, and with which words; and the runs that a load makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bus.messages import Evaluate, Scenario
from coordinator import jobs
from coordinator.load_faults import load_faults

FAULTS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"name": "server", "target_qps": 10.0}, {}, []),
    ({"name": "server"}, {}, ["target_qps: expected queries per second above 0 for server"]),
    ({"name": "server", "find": "max_qps"}, {}, []),
    ({"name": "offline", "find": "peak"}, {}, ["find: expected for the scenario server"]),
    ({"name": "server", "target_qps": -1.0}, {}, ["0 or more (got -1", "above 0 for server"]),
    ({"name": "server", "target_qps": 1e9}, {}, ["expected at most 10,000,000"]),
    ({"name": "burst", "target_qps": 9.0}, {}, ["burst_size: expected 1 or more"]),
    ({"name": "replay"}, {}, ["replay_ns: expected 1 to 50,000 offsets (got 0)"]),
    ({"name": "replay", "replay_ns": [5, 4]}, {}, ["offsets from 0 on, in order"]),
    ({"name": "online", "until_ci": 2.0}, {}, ["until_ci: expected a part of 1, like 0.02"]),
    ({"name": "offline", "until_ci": 0.02}, {}, ["until_ci: expected for online"]),
    ({"name": "offline", "issue_threads": 2}, {}, ["issue_threads: expected 1 for offline"]),
    ({"name": "online", "percentile": 99.0}, {}, ["percentile: expected a part of 1, like 0.99"]),
    ({"name": "online", "min_queries": 9, "max_queries": 8}, {}, ["no more than max_queries, 8"]),
    ({"name": "multi_stream"}, {"batch_sizes": [8, 3]}, ["8 are no whole batches of 3"]),
    ({"name": "cold_start", "min_queries": 500}, {}, ["at most 200 cold starts"]),
    (
        {"name": "offline", "max_duration_s": 60.0},
        {},
        ["max_duration_s: expected none"],
    ),
    ({"name": "dataset"}, {}, ["dataset: expected with the scenario dataset"]),
    ({"name": "dataset", "pipelined": True}, {"dataset": "D"}, []),
    ({"name": "online"}, {"dataset": "D"}, ["dataset: expected with the scenario dataset"]),
    ({"name": "online", "pipelined": True}, {}, ["pipelined: expected for the scenario dataset"]),
    ({"name": "replay", "replay_ns": [0], "accuracy": True}, {}, ["accuracy: expected without"]),
    (
        {"name": "server", "target_qps": 1.0, "min_duration_s": 600.0},
        {"timeout_s": 600.0},
        ["min_duration_s: 600 s in all; expected less than timeout_s, 600 s"],
    ),
    (
        {"name": "server", "target_qps": 9.0, "issue_threads": 2},
        {"level": "framework"},
        ["issue_threads: expected 1 below model level"],
    ),
]


@pytest.mark.parametrize(("load", "more", "wanted"), FAULTS)
def test_load_faults(
    request_for: Callable[..., Evaluate], load: dict[str, Any], more: dict[str, Any], wanted: list
) -> None:
    request = request_for(scenario=Scenario(**load), **more)
    found = load_faults(request)
    assert len(found) == len(wanted)
    for text, part in zip(found, wanted, strict=True):
        assert text.startswith("scenario: ") and part in text


SERVER = Scenario(name="server", target_qps=5.0)


@pytest.mark.parametrize(
    ("load", "level", "planned"),
    [
        (SERVER, "model", [("server", "model", 0)]),
        (SERVER, "framework", [("server", "model", 0), ("server", "framework", 0)]),
        (Scenario(name="server", find="peak"), "framework", [("server", "model", 0)]),
        (Scenario(name="online", until_ci=0.02), "model", [("online", "model", 30)]),
        (
            Scenario(name="cold_start"),
            "model",
            [("online", "model", 30), ("cold_start", "model", 10)],
        ),
        (
            Scenario(name="cold_start", min_queries=3),
            "framework",
            [("online", "model", 30), ("cold_start", "model", 3), ("online", "framework", 30)],
        ),
    ],
)
def test_the_runs_of_a_load(
    request_for: Callable[..., Evaluate], load: Scenario, level: Any, planned: list
) -> None:
    request = request_for(scenario=load, level=level, batch_sizes=[1], queries=30)
    runs = jobs.plan_runs(request, [])
    assert [(run.scenario, run.level, run.queries) for run in runs] == planned
    assert [run.index for run in runs] == [*range(len(runs))]
    assert all((run.options is load) is (run.scenario == load.name) for run in runs)


def test_a_dataset_may_be_pipelined(request_for: Callable[..., Evaluate]) -> None:
    load = Scenario(name="dataset", pipelined=True)
    (run,) = jobs.plan_runs(request_for(dataset="D", scenario=load), [])
    assert (run.scenario, run.options, run.queries) == ("dataset", load, 0)
