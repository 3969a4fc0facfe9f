"""The datasets that are known by name: who may publish and withdraw them in mlms_datasets."""

from __future__ import annotations

import logging
from collections import Counter

from msgspec.structs import replace

from bus import subjects
from bus.connection import Bus
from bus.errors import MLModelScopeError, UnknownNameError
from bus.messages import DatasetManifest, Datasets, Done, Publish, Refused, Unpublish
from coordinator.published import CHANGED, Published
from coordinator.shelf import not_yours
from manifests.datasets import Datasets as Known
from manifests.datasets import check_dataset, shipped_datasets
from manifests.runnable import GroupsOf, in_no_group
from manifests.version import normalise

log = logging.getLogger(__name__)


class DatasetShelf:
    """What was published; `known` is what it says now."""

    def __init__(self, counters: Counter[str], groups: GroupsOf = in_no_group) -> None:
        self.known = Known(groups=groups)
        self._published = Published[DatasetManifest](
            subjects.DATASETS_BUCKET,
            self.known,
            lambda datasets: Datasets(datasets=datasets),
            lambda entry: entry.datasets if isinstance(entry, Datasets) else [],
            counters,
        )

    async def start(self, bus: Bus) -> None:
        """Know the package's datasets, and what was published."""
        shipped = ((dataset_key(dataset), dataset) for dataset in shipped_datasets())
        await self._published.start(bus, shipped)

    async def stop(self) -> None:
        """Follow no more."""
        await self._published.stop()

    async def caught_up(self) -> None:
        """Know everything that was published before now."""
        await self._published.caught_up()

    async def publish(self, request: Publish) -> Done | Refused:
        """Make a dataset known."""
        assert request.dataset is not None
        try:
            dataset = check_dataset(request.dataset, request.dataset.name or "dataset")
        except MLModelScopeError as exc:
            return Refused(kind="manifest", text=str(exc))
        dataset = replace(dataset, owner=dataset.owner or request.user)
        if dataset.owner != request.user:
            return Refused(kind="manifest", text=not_yours(dataset.owner, request.user))
        title = f"dataset {dataset.name} {dataset.version}"
        answers: list[Done | Refused] = []

        def change(there: DatasetManifest | None) -> list[DatasetManifest] | None:
            if there is None:
                return [dataset]
            if replace(there, owner=dataset.owner) == dataset:
                answers.append(Done(text=f"{title} was published already"))
            else:
                answers.append(Refused(kind="changed", text=f"{title} {CHANGED}"))
            return None

        await self._published.move(dataset_key(dataset), change)
        if answers:
            return answers[0]
        log.info("published", extra={"dataset": title, "user": request.user})
        return Done(text=f"{title} is published")

    async def unpublish(self, request: Unpublish) -> Done | Refused:
        """Let a dataset be known no more."""
        await self.caught_up()
        try:
            version = normalise(request.version)
            known = self.known.versions(request.name, request.user)
            found = [dataset for dataset in known if dataset.version == version]
        except UnknownNameError as exc:
            return Refused(kind="unknown_dataset", text=str(exc), nearest=list(exc.nearest))
        except MLModelScopeError as exc:
            return Refused(kind="bad_request", text=str(exc))
        if not found:
            there = ", ".join(dataset.version for dataset in known)
            text = f"dataset {request.name} {version} is not published; there is: {there}"
            return Refused(kind="unmet_version", text=text)
        if found[0].owner not in ("", request.user):
            text = f"dataset {request.name} {version} belongs to {found[0].owner}"
            text += ": expected its owner to withdraw it"
            return Refused(kind="bad_request", text=text)
        await self._published.move(
            dataset_key(found[0]), lambda there: [] if there is not None else None
        )
        return Done(text=f"dataset {found[0].name} {version} is published no longer")


def dataset_key(dataset: DatasetManifest) -> str:
    """Where a dataset lies in the bucket: names that differ in case alone are one name; a private
    one lies under its owner's name too, as models do."""
    parts = [dataset.name.casefold(), dataset.version]
    if dataset.visibility == "private":
        parts.append(dataset.owner)
    return ".".join(subjects.token(part) for part in parts)
