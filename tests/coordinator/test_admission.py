"""Which requests get a plan, and what the refusal of every other says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from bus.messages import (
    Evaluate,
    FrameworkSeen,
    FrameworkWanted,
    Manifest,
    NodeAnnounced,
    Refused,
    Sample,
    Wanted,
)
from coordinator.admission import Plan, admit, make_job
from coordinator.ran import Outlooks
from coordinator.registry import Registry
from manifests.catalog import Catalog


@pytest.fixture
def registry(node: Callable[..., NodeAnnounced]) -> Registry:
    found = Registry()
    torch = [FrameworkSeen(name="pytorch", version="2.13.0", devices=["cpu"])]
    for made in (node("n1"), node("n2"), node("n3", frameworks=torch)):
        found.announced(made.node_id, made)
        found.heard(made.node_id, made.incarnation)
    return found


@pytest.fixture
def catalog(model: Callable[..., Manifest]) -> Catalog:
    return Catalog(
        [
            model(version="1.0.0"),
            model(version="1.2.0"),
            model(version="1.2.0", framework=FrameworkWanted(name="pytorch")),
            model("Unready", preprocess=[["code"]]),
            model("Elsewhere", framework=FrameworkWanted(name="MXNet", version="^1.x")),
            model("Mistyped", framework=FrameworkWanted(name="onnxruntim")),
        ]
    )


NAMED: dict[str, Any] = {"manifest": None}


@pytest.mark.parametrize(
    ("fields", "kind", "says"),
    [
        ({"evaluation_id": "x"}, "bad_request", "32 hex digits"),
        ({"batch_sizes": []}, "bad_request", "expected 1 to 64"),
        ({"batch_sizes": [1, 0]}, "bad_request", "got 0"),
        ({"queries": 0, "warmup": -1}, "bad_request", "queries: .*; warmup: "),
        ({"timeout_s": float("nan")}, "bad_request", "timeout_s"),
        ({"max_attempts": 0}, "bad_request", "max_attempts"),
        ({"traceparent": "00-12-34-01"}, "bad_request", "traceparent: expected 00-<32 hex"),
        ({"otlp_endpoint": "collector:4318"}, "bad_request", "http.*got 'collector:4318'"),
        ({"otlp_endpoint": "http://a:hush@b"}, "bad_request", "got one with an @"),
        ({"inputs": []}, "bad_request", "brings no samples"),
        (NAMED, "bad_request", "a model's name, or a manifest"),
        ({**NAMED, "model": "AlexNet@what"}, "bad_request", "no version range"),
        ({"wanted": Wanted(framework="onnxruntime@what")}, "bad_request", "no version range"),
        ({**NAMED, "model": "AlexNte"}, "unknown_model", "did you mean AlexNet"),
        ({**NAMED, "model": "AlexNet@^3"}, "unmet_version", r"there is: 1\.2\.0, 1\.0\.0"),
        ({**NAMED, "model": "Unready"}, "not_runnable", "placeholder"),
        ({**NAMED, "model": "Elsewhere"}, "nothing_fits", "no node has the framework MXNet"),
        ({**NAMED, "model": "Mistyped"}, "nothing_fits", "did you mean onnxruntime"),
        ({"wanted": Wanted(min_cores=64)}, "nothing_fits", "wanted at least 64, has 4"),
        ({"wanted": Wanted(node="n9")}, "nothing_fits", "wanted n9, has another node"),
    ],
)
def test_refusals(
    request_for: Callable[..., Evaluate],
    catalog: Catalog,
    registry: Registry,
    fields: dict[str, Any],
    kind: str,
    says: str,
) -> None:
    refused = admit(request_for(**fields), catalog, registry, Outlooks())
    assert isinstance(refused, Refused)
    assert refused.kind == kind
    assert re.search(says, refused.text), refused.text
    if kind == "nothing_fits":
        assert sum(group.count for group in refused.misfits) == 3
        counts = [len(group.failures) for group in refused.misfits]
        assert counts == sorted(counts)
    if "did you mean" in says:
        assert refused.nearest


def test_a_manifest_of_ones_own_is_checked_too(
    request_for: Callable[..., Evaluate],
    model: Callable[..., Manifest],
    registry: Registry,
) -> None:
    refused = admit(request_for(manifest=model(version="one")), Catalog(), registry, Outlooks())
    assert isinstance(refused, Refused) and refused.kind == "bad_request"
    assert "no version" in refused.text
    refused = admit(
        request_for(manifest=model(postprocess="x = 1")), Catalog(), registry, Outlooks()
    )
    assert isinstance(refused, Refused) and refused.kind == "not_runnable"


def test_nobody_is_there(request_for: Callable[..., Evaluate]) -> None:
    refused = admit(request_for(), Catalog(), Registry(), Outlooks())
    assert isinstance(refused, Refused) and refused.kind == "no_nodes"


@pytest.mark.parametrize(
    ("fields", "load", "chosen"),
    [
        ({"model": "alexnet"}, {}, ("n1", "1.2.0", "onnxruntime")),
        ({"model": "AlexNet@~1.0"}, {"n1": 1}, ("n2", "1.0.0", "onnxruntime")),
        (
            {"model": "AlexNet", "wanted": Wanted(framework="PyTorch@^2")},
            {},
            ("n3", "1.2.0", "pytorch"),
        ),
        ({"model": "AlexNet", "wanted": Wanted(node="n3")}, {}, ("n3", "1.2.0", "pytorch")),
    ],
)
def test_plans(
    request_for: Callable[..., Evaluate],
    catalog: Catalog,
    registry: Registry,
    fields: dict[str, Any],
    load: dict[str, float],
    chosen: tuple[str, str, str],
) -> None:
    plan = admit(request_for(**NAMED, **fields), catalog, registry, Outlooks(load))
    assert isinstance(plan, Plan)
    found = (plan.choice.node_id, plan.manifest.version, plan.choice.framework.name)
    assert found == chosen


def test_a_models_samples_stand_in_for_inputs(
    request_for: Callable[..., Evaluate],
    model: Callable[..., Manifest],
    registry: Registry,
) -> None:
    sample = Sample(
        url="package://scikit_image/skimage/data/coffee.png", checksum="sha256:" + "00" * 32
    )
    request = request_for(manifest=model(samples=[sample]), inputs=[], user="me", seed=3)
    plan = admit(request, Catalog(), registry, Outlooks())
    assert isinstance(plan, Plan)
    (given,) = plan.inputs
    assert (given.name, given.url, given.checksum) == ("coffee.png", sample.url, sample.checksum)
    job = make_job(request, plan, 0, 5)
    assert job.job_id == f"{request.evaluation_id}-0"
    assert (job.user, job.seed, job.submitted_ns, job.attempt) == ("me", 3, 5, 1)
    assert job.inputs == plan.inputs and len(job.runs) == 1
    assert replace(make_job(request, plan, 0, 6), submitted_ns=5) == job
