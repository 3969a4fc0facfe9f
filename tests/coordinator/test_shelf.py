"""Publish and Unpublish on a real NATS: the bucket is the truth, for every coordinator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from bus import subjects
from bus.connection import Bus
from bus.messages import (
    Done,
    FrameworkWanted,
    ListModels,
    Manifest,
    ModelResources,
    Models,
    Publish,
    Refused,
    Unpublish,
)
from coordinator.coordinator import Coordinator
from coordinator.shelf import manifest_key

Eventually = Callable[..., Awaitable[None]]
Start = Callable[[], Awaitable[Coordinator]]
Model = Callable[..., Manifest]
SHIPPED = "EfficientNet-Lite0"


async def publish(bus: Bus, manifest: Manifest) -> Done | Refused:
    request = Publish(manifest=manifest, user="ann")
    return await bus.request(subjects.PUBLISH, request, Done, Refused)


async def unpublish(bus: Bus, name: str, version: str, framework: str = "") -> Done | Refused:
    request = Unpublish(name=name, version=version, framework=framework, user="ann")
    return await bus.request(subjects.UNPUBLISH, request, Done, Refused)


async def listed(bus: Bus, model: str = "") -> Models:
    return await bus.request(subjects.MODELS, ListModels(model=model), Models)


async def test_published_known_to_all_and_withdrawn(
    bus: Bus, coordinator_on: Start, model: Model, eventually: Eventually
) -> None:
    await coordinator_on()
    other = await coordinator_on()
    known = other.status()["models"]
    assert isinstance(known, int)
    # A version is made whole; what is the same by then is the same.
    assert isinstance(await publish(bus, model(version="1.0")), Done)
    await eventually(lambda: other.status()["models"] == known + 1)
    again = await publish(bus, model(version="1.0.0"))
    assert isinstance(again, Done) and "already" in again.text
    bucket = await bus.bucket(subjects.MANIFESTS_BUCKET)
    got = await bucket.get(manifest_key(model()))
    assert got is not None and got[0] == Models(models=[model()])
    assert isinstance(await unpublish(bus, "alexnet", "1", "ONNXRuntime"), Done)
    await eventually(lambda: other.status()["models"] == known)
    assert (await listed(bus, "AlexNet")).models == []
    gone = await unpublish(bus, "AlexNet", "1.0.0")
    assert isinstance(gone, Refused) and gone.kind == "unknown_model"
    assert isinstance(await publish(bus, model(description="another")), Done)


async def test_another_content_needs_another_version(
    bus: Bus, coordinator_on: Start, model: Model
) -> None:
    await coordinator_on()
    await publish(bus, model())
    for changed in (model(description="changed"), model(name="ALEXNET")):
        refused = await publish(bus, changed)
        assert isinstance(refused, Refused) and refused.kind == "changed"
        assert "raise the version" in refused.text
    for beside in (
        model(version="1.0.1", description="changed"),
        model(framework=FrameworkWanted(name="pytorch")),
    ):
        assert isinstance(await publish(bus, beside), Done)
    assert len((await listed(bus, "AlexNet")).models) == 3


async def test_names_that_make_one_key_are_kept_apart(
    bus: Bus, coordinator_on: Start, model: Model
) -> None:
    await coordinator_on()
    assert manifest_key(model(name="Alex Net")) == manifest_key(model(name="Alex-Net"))
    await publish(bus, model(name="Alex Net"))
    refused = await publish(bus, model(name="Alex-Net"))
    assert isinstance(refused, Refused)
    assert "too like Alex Net" in refused.text and "another name" in refused.text


async def test_what_cannot_be_run_may_be_shown(
    bus: Bus, coordinator_on: Start, model: Model
) -> None:
    await coordinator_on()
    done = await publish(bus, model(preprocess="[[code]]"))
    assert isinstance(done, Done) and "not runnable" in done.text
    assert "placeholder" in (await listed(bus, "AlexNet")).not_runnable["AlexNet@1.0.0"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "newest"}, "newest"),
        ({"name": ""}, "name"),
        ({"framework": FrameworkWanted(name="onnxruntime", version=">>1")}, ">>1"),
    ],
)
async def test_a_manifest_with_faults_is_refused(
    bus: Bus, coordinator_on: Start, model: Model, changes: dict[str, Any], words: str
) -> None:
    await coordinator_on()
    refused = await publish(bus, model(**changes))
    assert isinstance(refused, Refused) and refused.kind == "manifest"
    assert words in refused.text


async def test_a_withdrawn_model_of_the_package_stays_withdrawn(
    bus: Bus, coordinator_on: Start
) -> None:
    first = await coordinator_on()
    known = first.status()["models"]
    assert isinstance(known, int)
    (manifest,) = (await listed(bus, SHIPPED)).models
    assert isinstance(await unpublish(bus, SHIPPED, manifest.version), Done)
    later = await coordinator_on()  # it seeds what is not there
    for coordinator in (first, later):
        assert coordinator.status()["models"] == known - 1
    assert (await listed(bus, SHIPPED)).models == []
    assert isinstance(await publish(bus, manifest), Done)
    bucket = await bus.bucket(subjects.MANIFESTS_BUCKET)
    got = await bucket.get(manifest_key(manifest))
    assert got is not None and got[0] == Models(models=[manifest])


@pytest.mark.parametrize(
    ("name", "version", "framework", "kind", "words"),
    [
        ("Alexnt", "1.0.0", "", "unknown_model", "AlexNet"),
        ("AlexNet", "", "", "bad_request", "expected one such as 1.2.3"),
        ("AlexNet", "^1", "", "bad_request", "expected one such as 1.2.3"),
        ("AlexNet", "1.0.0", "", "bad_request", "say for which framework"),
        ("AlexNet", "3.0.0", "", "unmet_version", "1.0.0 for onnxruntime"),
        ("AlexNet", "1.0.0", "keras", "unmet_version", "1.0.0 for pytorch"),
    ],
)
async def test_what_cannot_be_withdrawn(
    bus: Bus,
    coordinator_on: Start,
    model: Model,
    name: str,
    version: str,
    framework: str,
    kind: str,
    words: str,
) -> None:
    await coordinator_on()
    for there in ("onnxruntime", "pytorch"):
        await publish(bus, model(framework=FrameworkWanted(name=there)))
    refused = await unpublish(bus, name, version, framework)
    assert isinstance(refused, Refused) and refused.kind == kind
    assert words in refused.text + " ".join(refused.nearest)
    assert len((await listed(bus, "AlexNet")).models) == 2


async def test_of_many_at_once_one_is_published(
    bus: Bus, coordinator_on: Start, model: Model
) -> None:
    await coordinator_on()
    await coordinator_on()
    contents = [
        replace(model(), model=ModelResources(graph_path=f"https://models.example/{number}"))
        for number in range(6)
    ]
    answers = await asyncio.gather(*(publish(bus, content) for content in contents))
    won = [c for c, answer in zip(contents, answers, strict=True) if isinstance(answer, Done)]
    assert len(won) == 1
    bucket = await bus.bucket(subjects.MANIFESTS_BUCKET)
    got = await bucket.get(manifest_key(model()))
    assert got is not None and got[0] == Models(models=won)
