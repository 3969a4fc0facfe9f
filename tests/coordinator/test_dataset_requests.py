"""Datasets at the coordinator: known to all by name, and a request for one becomes one pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bus import subjects
from bus.connection import Bus
from bus.messages import (
    DatasetFile,
    DatasetManifest,
    Datasets,
    Done,
    Evaluate,
    ListDatasets,
    Manifest,
    NodeAnnounced,
    Publish,
    Refused,
    Unpublish,
)
from coordinator.admission import Plan, admit, make_job
from coordinator.coordinator import Coordinator
from coordinator.ran import Outlooks
from coordinator.registry import Registry
from manifests.catalog import Catalog
from manifests.datasets import Datasets as Known

Start = Callable[[], Awaitable[Coordinator]]


def dataset(name: str = "Own", version: str = "1.0.0", **fields: Any) -> DatasetManifest:
    files = {"images": DatasetFile(url="https://data.example/x/")}
    given: dict[str, Any] = {"format": "image_folder", "files": files, **fields}
    return DatasetManifest(name=name, version=version, **given)


@pytest.fixture
def registry(node: Callable[..., NodeAnnounced]) -> Registry:
    found = Registry()
    found.announced("n1", node("n1"))
    found.heard("n1", node("n1").incarnation)
    return found


def asked(request_for: Callable[..., Evaluate], **fields: Any) -> Evaluate:
    return request_for(**{"inputs": [], "batch_sizes": [8], **fields})


def test_a_dataset_becomes_one_pass(
    registry: Registry, request_for: Callable[..., Evaluate]
) -> None:
    known = Known([dataset(version="1.0"), dataset(version="1.1")])
    wanted = asked(request_for, dataset="own@^1", limit=5, full_outputs=True, level="framework")
    plan = admit(wanted, Catalog(), registry, Outlooks(), known)
    assert isinstance(plan, Plan), plan
    job = make_job(wanted, plan, 0, 1)
    assert job.dataset is not None and job.dataset.version == "1.1.0"
    assert (job.limit, job.full_outputs, job.inputs) == (5, True, [])
    (run,) = job.runs
    assert (run.scenario, run.batch_size, run.queries, run.level) == ("dataset", 8, 0, "model")


@pytest.mark.parametrize(
    ("fields", "kind", "says"),
    [
        ({"dataset": "Owm"}, "unknown_dataset", "did you mean Own"),
        ({"dataset": "Own@^2"}, "unmet_version", "there is: 1.0.0"),
        ({"dataset": "Own@what"}, "bad_request", "no version range"),
        ({"dataset": "Own", "batch_sizes": [1, 2]}, "bad_request", "expected one with a dataset"),
        ({"dataset": "Own", "limit": -1}, "bad_request", "limit: expected at least 0"),
        (
            {"dataset_manifest": dataset(files={})},
            "bad_request",
            "files.images: expected for the format image_folder",
        ),
    ],
    ids=lambda case: str(case)[:40],
)
def test_what_cannot_be_asked(
    registry: Registry,
    request_for: Callable[..., Evaluate],
    fields: dict[str, Any],
    kind: str,
    says: str,
) -> None:
    found = admit(asked(request_for, **fields), Catalog(), registry, Outlooks(), Known([dataset()]))
    assert isinstance(found, Refused)
    assert found.kind == kind and says in found.text


async def test_published_known_to_all_and_withdrawn(bus: Bus, coordinator_on: Start) -> None:
    await coordinator_on()

    async def ask(request: Publish | Unpublish) -> Done | Refused:
        subject = subjects.PUBLISH if isinstance(request, Publish) else subjects.UNPUBLISH
        return await bus.request(subject, request, Done, Refused)

    async def listed(name: str = "") -> list[str]:
        request = ListDatasets(dataset=name)
        found = await bus.request(subjects.DATASETS, request, Datasets)
        return [f"{each.name} {each.version}" for each in found.datasets]

    assert "MNIST-5k 1.0.0" in await listed()
    assert isinstance(await ask(Publish(dataset=dataset(version="1"))), Done)
    again = await ask(Publish(dataset=dataset()))
    assert isinstance(again, Done) and "already" in again.text
    changed = await ask(Publish(dataset=dataset(description="another")))
    assert isinstance(changed, Refused) and changed.kind == "changed"
    faulty = await ask(Publish(dataset=dataset(files={})))
    assert isinstance(faulty, Refused) and faulty.kind == "manifest"
    neither = await ask(Publish())
    assert isinstance(neither, Refused) and "one of the two" in neither.text
    await coordinator_on()  # one that comes later knows it too
    assert await listed("own@^1") == ["Own 1.0.0"]
    not_theirs = await ask(Unpublish(name="Own", version="1", dataset=True, user="bob"))
    assert isinstance(not_theirs, Refused) and "belongs to anonymous" in not_theirs.text
    private = dataset("Hers", visibility="private")
    assert isinstance(await ask(Publish(dataset=private, user="ann")), Done)
    assert await listed("Hers") == []
    mine = ListDatasets(dataset="Hers", user="ann")
    found = await bus.request(subjects.DATASETS, mine, Datasets)
    assert [each.owner for each in found.datasets] == ["ann"]
    # What ann keeps to herself takes nobody's name: neither bob's nor everyone's.
    his = dataset("Hers", visibility="private", description="bob's")
    assert isinstance(await ask(Publish(dataset=his, user="bob")), Done)
    everyones = dataset("Hers", description="everyone's")
    assert isinstance(await ask(Publish(dataset=everyones)), Done)
    for user, first in (("ann", ""), ("bob", "bob's"), ("cid", "everyone's")):
        asked_by = ListDatasets(dataset="Hers", user=user)
        seen = (await bus.request(subjects.DATASETS, asked_by, Datasets)).datasets
        assert seen[0].description == first
        assert {each.owner for each in seen} <= {user, "anonymous"}
    gone = await ask(Unpublish(name="Hers", version="1", dataset=True, user="bob"))
    assert isinstance(gone, Done)
    asked_by = ListDatasets(dataset="Hers", user="bob")
    (left,) = (await bus.request(subjects.DATASETS, asked_by, Datasets)).datasets
    assert left.description == "everyone's"
    other = await ask(Unpublish(name="Own", version="2", dataset=True))
    assert isinstance(other, Refused) and other.kind == "unmet_version"
    assert isinstance(await ask(Unpublish(name="own", version="1", dataset=True)), Done)
    assert await listed("Own") == []
    assert isinstance(await ask(Publish(dataset=dataset(description="another"))), Done)


async def test_what_is_in_the_bucket_is_known_at_once(bus: Bus, coordinator_on: Start) -> None:
    """Who was told by one coordinator that it is published may ask another in the same moment."""
    await coordinator_on()
    await coordinator_on()
    bucket = await bus.bucket(subjects.DATASETS_BUCKET)
    for number in range(60):
        made = dataset(f"D{number}", "1.0.0")
        await bucket.put(f"d{number}.1-0-0", Datasets(datasets=[made]))
        request = ListDatasets(dataset=made.name)
        found = await bus.request(subjects.DATASETS, request, Datasets)
        assert [each.name for each in found.datasets] == [made.name]


def test_an_ordinary_request_is_planned_as_before(
    registry: Registry, request_for: Callable[..., Evaluate], model: Callable[..., Manifest]
) -> None:
    plan = admit(request_for(manifest=model()), Catalog(), registry, Outlooks())
    assert isinstance(plan, Plan) and plan.dataset is None and plan.inputs
