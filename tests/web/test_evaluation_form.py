"""The form of Evaluate as requests, and faults beside the fields that they are about: tables."""

from __future__ import annotations

import pytest

from bus.errors import RefusedError
from bus.messages import Scenario
from web.bodies import InputGiven, NewEvaluation
from web.evaluate_form import Given, fault_of, filled, wishes
from web.load_form import fields_of, load_of

SHA = "a" * 64


def given(**fields: str | list[str]) -> Given:
    """A form with a model and these fields."""
    both = {"model": "M", **fields}
    return Given({k: [v] if isinstance(v, str) else v for k, v in both.items()})


def test_an_empty_form_asks_for_the_defaults() -> None:
    (wish,) = wishes(given())
    assert wish == NewEvaluation(model="M")


def test_each_place_and_each_other_model_is_a_request() -> None:
    form = given(
        place=["n1|onnxruntime|default", "n2|pytorch|old"], also=["B"], batch_sizes="1 4,8"
    )
    found = wishes(form)
    assert [(w.model, w.node, w.framework, w.environment) for w in found] == [
        ("M", "n1", "onnxruntime", "default"),
        ("M", "n2", "pytorch", "old"),
        ("B", "", "", ""),
    ]
    assert {tuple(wish.batch_sizes) for wish in found} == {(1, 4, 8)}


def test_constraints_hold_where_no_place_is_ticked() -> None:
    (wish,) = wishes(
        given(
            framework="onnxruntime",
            device="gpu",
            requires="gpu.memory>=16GiB, amx",
            prefer="fastest",
        )
    )
    assert (wish.framework, wish.device, wish.prefer) == ("onnxruntime", "gpu", "fastest")
    assert wish.requires == ["gpu.memory>=16GiB", "amx"]


# field, what it holds -> a part of what stands beside it
FAULTS = {
    ("batch_sizes", "0"): "(got '0')",
    ("batch_sizes", "1, x"): "(got 'x')",
    ("batch_sizes", "99999999999999999999"): "1 to 65536",
    ("runs", "0"): "1 or more",
    ("runs", "1.5"): "a whole number",
    ("runs", "nan"): "a whole number",
    ("warmup", "-1"): "from 0",
    ("timeout_s", "1e9"): "86400",
    ("trace", "deep"): "framework",
    ("settings", "threads"): "NAME=VALUE",
    ("url", "file:///etc/passwd"): "http:// or https://",
    ("prefer", "red"): "Invalid enum value",
    ("scenario", "none"): "expected one of",
    ("model", ""): "expected a model",
}


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: f"{case[0]}={case[1]}")
def test_a_fault_stands_beside_its_field(case: tuple[str, str]) -> None:
    name, text = case
    form = given(**{name: text})
    assert wishes(form) == []
    assert FAULTS[case] in form.faults[name]


def test_data_and_inputs_are_not_both() -> None:
    form = given(dataset="D", url="https://example.org/a.png")
    assert wishes(form) == [] and "not both" in form.faults["dataset"]


# what the form holds -> the load
LOADS = [
    (
        {"target_qps": "20", "latency_bound_ms": "15", "percentile": "99"},
        Scenario(name="server", target_qps=20.0, latency_bound_ms=15.0, percentile=0.99),
    ),
    (
        {"until_ci": "2%", "min_queries": "300"},
        Scenario(name="online", until_ci=0.02, min_queries=300),
    ),
    (
        {"target_qps": "100", "burst_size": "10"},
        Scenario(name="burst", target_qps=100.0, burst_size=10),
    ),
    ({"find": "peak"}, Scenario(name="server", find="peak")),
    ({"accuracy": "yes"}, Scenario(name="offline", accuracy=True)),
    ({"replay": "1\n# later\n1.5"}, Scenario(name="replay", replay_ns=[0, 500_000_000])),
]


@pytest.mark.parametrize(("held", "load"), LOADS, ids=[str(held) for held, _ in LOADS])
def test_a_load_is_read_and_filled_in_again(held: dict[str, str], load: Scenario) -> None:
    faults: dict[str, str] = {}
    assert load_of({"scenario": load.name, **held}, faults) == load
    assert load_of(fields_of(load), faults) == load
    assert not faults


def test_fields_of_other_loads_are_not_looked_at() -> None:
    faults: dict[str, str] = {}
    asked = {"scenario": "single_stream", "burst_size": "x", "target_qps": "-1", "find": "peak"}
    assert load_of(asked, faults) == Scenario(name="single_stream")
    assert load_of({"scenario": "burst", "burst_size": "x"}, faults) == Scenario(name="burst")
    assert list(faults) == ["burst_size"]
    faults.clear()
    assert load_of({"scenario": "replay", "replay": "2\n1"}, faults) is not None
    assert "line:2: 1 is before" in faults["replay"]


def test_a_request_fills_the_form_that_makes_it() -> None:
    wish = NewEvaluation(
        model="M@1.0.0",
        inputs=[InputGiven(upload=SHA), InputGiven(url="https://example.org/a.png")],
        framework="pytorch",
        node="n1",
        environment="old",
        batch_sizes=[1, 4],
        runs=30,
        warmup=2,
        trace="library",
        leveled=False,
        threads=2,
        settings={"precision": "fp16", "serialize": 1},
        scenario=Scenario(name="server", target_qps=5.0),
    )
    assert wishes(filled(wish, [])) == [wish]


# what a refusal says -> the field that it is shown beside
REFUSALS = {
    ("unknown_model", "no model is called M"): "model",
    ("nothing_fits", "no node fits"): "place",
    ("bad_request", "scenario: target_qps: expected queries (got 0)"): "target_qps",
    ("bad_request", "batch_sizes: expected 1 to 32"): "batch_sizes",
    ("bad_request", "something else"): "form",
}


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case[1])
def test_a_refusal_stands_beside_the_field_that_it_is_about(case: tuple[str, str]) -> None:
    form = given()
    kind, text = case
    fault_of(RefusedError(text, kind, None), form)
    assert list(form.faults) == [REFUSALS[case]]
