"""Publish and Unpublish on a real NATS: the bucket is the truth, for every coordinator."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from bus import subjects
from bus.connection import Bus
from bus.messages import (
    Accepted,
    Done,
    Evaluate,
    Fits,
    Fitting,
    FrameworkSeen,
    FrameworkWanted,
    Input,
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


async def publish(bus: Bus, manifest: Manifest, user: str = "ann") -> Done | Refused:
    request = Publish(manifest=manifest, user=user)
    return await bus.request(subjects.PUBLISH, request, Done, Refused)


async def unpublish(
    bus: Bus, name: str, version: str, framework: str = "", user: str = "ann"
) -> Done | Refused:
    request = Unpublish(name=name, version=version, framework=framework, user=user)
    return await bus.request(subjects.UNPUBLISH, request, Done, Refused)


async def listed(bus: Bus, model: str = "", user: str = "ann", hidden: bool = False) -> Models:
    request = ListModels(model=model, user=user, hidden=hidden)
    return await bus.request(subjects.MODELS, request, Models)


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
    assert got is not None and got[0] == Models(models=[model(owner="ann")])
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
    manifest, *others = (await listed(bus, SHIPPED)).models
    name = manifest.framework.name
    assert isinstance(await unpublish(bus, SHIPPED, manifest.version, name), Done)
    later = await coordinator_on()  # it seeds what is not there
    for coordinator in (first, later):
        assert coordinator.status()["models"] == known - 1
    assert (await listed(bus, SHIPPED)).models == others
    assert isinstance(await publish(bus, manifest), Done)
    bucket = await bus.bucket(subjects.MANIFESTS_BUCKET)
    got = await bucket.get(manifest_key(manifest))
    assert got is not None and got[0] == Models(models=[replace(manifest, owner="ann")])


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
    assert got is not None and got[0] == Models(models=[replace(won[0], owner="ann")])


# ------------------------------------------------------------------ whose it is, who sees it


async def test_a_private_model_is_as_if_unknown_to_others(
    bus: Bus, coordinator_on: Start, player: Any, model: Model, eventually: Eventually
) -> None:
    coordinator, _ = await coordinator_on(), await player("n1")
    await eventually(lambda: coordinator.status()["nodes"] == ["n1"])
    secret = model("Secret", visibility="private")
    assert isinstance(await publish(bus, secret), Done)
    names = {m.name for m in (await listed(bus)).models}
    assert "Secret" in names
    assert names - {m.name for m in (await listed(bus, user="bob")).models} == {"Secret"}
    for user, seen in (("ann", 1), ("bob", 0)):
        assert len((await listed(bus, "Secret", user)).models) == seen
        evaluate = Evaluate(
            evaluation_id=uuid.uuid4().hex,
            user=user,
            model="Secret",
            inputs=[Input(name="a", data=b"a")],
        )
        for subject, request in (
            (subjects.EVALUATE, evaluate),
            (subjects.FITS, Fits(model="Secret", user=user)),
        ):
            answer = await bus.request(subject, request, Accepted, Fitting, Refused)
            unknown = isinstance(answer, Refused) and answer.kind == "unknown_model"
            assert unknown == (not seen), answer
    refused = await unpublish(bus, "Secret", "1.0.0", user="bob")
    assert isinstance(refused, Refused) and refused.kind == "unknown_model"
    # Another's of the same name stands beside it, and neither is in the other's way.
    assert isinstance(await publish(bus, model("Secret", description="bob's"), "bob"), Done)
    assert [m.description for m in (await listed(bus, "Secret", "bob")).models] == ["bob's"]
    assert len((await listed(bus, "Secret")).models) == 2
    assert isinstance(await unpublish(bus, "Secret", "1.0.0"), Done)
    assert [m.owner for m in (await listed(bus, "Secret")).models] == ["bob"]


async def test_only_its_owner_withdraws_a_model(
    bus: Bus, coordinator_on: Start, model: Model
) -> None:
    await coordinator_on()
    await publish(bus, model())
    again = await publish(bus, model(), "bob")  # the same content, whoever brings it
    assert isinstance(again, Done) and "already" in again.text
    refused = await unpublish(bus, "AlexNet", "1.0.0", user="bob")
    assert isinstance(refused, Refused) and "belongs to ann" in refused.text
    assert isinstance(await unpublish(bus, "AlexNet", "1.0.0"), Done)


async def test_a_hidden_model_is_not_listed_unless_asked_for(
    bus: Bus, coordinator_on: Start, model: Model
) -> None:
    await coordinator_on()
    await publish(bus, model("Ghost", hidden=True))
    assert "Ghost" not in {m.name for m in (await listed(bus)).models}
    assert "Ghost" in {m.name for m in (await listed(bus, hidden=True)).models}
    assert [m.name for m in (await listed(bus, "ghost")).models] == ["Ghost"]


async def test_every_way_to_run_a_model_is_told(
    bus: Bus, coordinator_on: Start, player: Any, model: Model, eventually: Eventually
) -> None:
    coordinator = await coordinator_on()
    builds = [
        FrameworkSeen(name="onnxruntime", version="1.31.1", devices=["cpu"]),
        FrameworkSeen(name="onnxruntime", version="1.20.0", devices=["cpu"], environment="old"),
        FrameworkSeen(name="pytorch", version="2.13.0", devices=["cpu"], environment="torch"),
    ]
    await player("n1", frameworks=builds)
    await player("n2", cores=2)
    await player("n3", frameworks=[])
    await eventually(lambda: coordinator.status()["nodes"] == ["n1", "n2", "n3"])
    for framework in ("onnxruntime", "pytorch"):
        await publish(bus, model(framework=FrameworkWanted(name=framework)))
    found = await bus.request(subjects.FITS, Fits(model="AlexNet", user="ann"), Fitting)
    assert found.nodes == ["n1", "n2"]
    assert [(p.node_id, p.framework, p.framework_version, p.environment) for p in found.places] == [
        ("n1", "onnxruntime", "1.31.1", "default"),
        ("n1", "onnxruntime", "1.20.0", "old"),
        ("n1", "pytorch", "2.13.0", "torch"),
        ("n2", "onnxruntime", "1.31.1", "default"),
    ]


async def test_a_librarys_models_are_known_and_stay(bus: Bus, coordinator_on: Start) -> None:
    await coordinator_on()
    (listed_one,) = (await listed(bus, "timm/resnet50")).models
    assert listed_one.model.weights == "random"
    assert isinstance(await publish(bus, replace(listed_one, owner="ann")), Done)
    changed = await publish(bus, replace(listed_one, description="mine"))
    assert isinstance(changed, Refused) and changed.kind == "changed"
    refused = await unpublish(bus, "timm/resnet50", listed_one.version)
    assert isinstance(refused, Refused) and "comes with the list" in refused.text
    assert isinstance(await publish(bus, replace(listed_one, version="99.0")), Done)
    versions = [manifest.version for manifest in (await listed(bus, "timm/resnet50")).models]
    assert versions == ["99.0.0", listed_one.version]
    assert isinstance(await unpublish(bus, "timm/resnet50", "99.0.0"), Done)
    bucket = await bus.bucket(subjects.MANIFESTS_BUCKET)
    assert await bucket.get(manifest_key(listed_one)) is None, "nothing is written for them"
