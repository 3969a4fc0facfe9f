"""`evaluate --trace` below the layers, as a person sees it: counts, what looking cost, reasons."""

from __future__ import annotations

import json
from typing import Any

from predictor_node.worker.profilers import hardware, nvml, rapl

HARDWARE = {"counters": hardware, "rapl": rapl, "nvml": nvml}
MODEL = ("EfficientNet-Lite0", "--framework", "onnxruntime", "--threads", "1", "--runs", "10")


def evaluated(mlms: Any, *options: str) -> dict[str, Any]:
    done = mlms("evaluate", *MODEL, *options, "--output", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_each_level_has_a_run_and_a_cost(mlms: Any) -> None:
    result = evaluated(mlms, "--trace", "hardware")
    levels = [row["level"] for row in result["overhead"]]
    assert levels[:1] == ["framework"] and "system" in levels
    assert [row["level"] for row in result["latency"]] == ["model"] and result["leveled"]
    assert all(row["base_level"] == "model" and row["ratio"] > 0 for row in result["overhead"])
    counts = {row["name"]: row for row in result["counts"] if row["level"] == "system"}
    assert counts["involuntary_switches"]["queries"] == 10
    assert counts["cpu_ns"]["mean"] > 100_000
    system = next(row["run"] for row in result["overhead"] if row["level"] == "system")
    assert {row["run"] for row in counts.values()} == {system}
    for name, module in HARDWARE.items():
        if why := module.available():
            assert f"{name}: {why}" in result["unavailable"]["hardware"]
    assert ("hardware" in levels) == any(not module.available() for module in HARDWARE.values())

    text = mlms("show", result["evaluation_id"]).stdout
    assert "What the system did, per query" in text and "involuntary switches" in text
    for level in levels:
        assert f"cost of looking at {level} level (a run of its own): batch 1 ×" in text
    if "hardware" not in levels:
        assert "unavailable: hardware: counters:" in text


def test_one_run_at_the_deepest_level_is_marked(mlms: Any) -> None:
    result = evaluated(mlms, "--trace", "system", "--no-leveled")
    assert [row["level"] for row in result["latency"]] == ["system"]
    assert not result["leveled"] and result["overhead"] == []
    assert result["slowest_layers"] and result["counts"]
    text = mlms("show", result["evaluation_id"]).stdout
    assert "not leveled: times contain the cost of looking at system level" in text
