"""The datasets that everyone knows: the bucket mlms_datasets is the truth, seeded once."""

from __future__ import annotations

import logging
from collections import Counter

from msgspec.structs import replace

from bus import subjects
from bus.buckets import Watch
from bus.connection import Bus
from bus.errors import MLModelScopeError, StaleError, UnknownNameError
from bus.messages import DatasetManifest, Datasets, Done, Message, Publish, Refused, Unpublish
from manifests.datasets import Datasets as Known
from manifests.datasets import check_dataset, shipped_datasets
from manifests.version import normalise

log = logging.getLogger(__name__)


class DatasetShelf:
    """What was published; `known` is what it says now."""

    def __init__(self, counters: Counter[str]) -> None:
        self.known = Known()
        self._counters = counters
        self._by_key: dict[str, DatasetManifest] = {}
        self._revisions: dict[str, int] = {}
        self._watch: Watch | None = None

    async def start(self, bus: Bus) -> None:
        """Put the package's datasets there, unless somebody has dealt with them, and follow."""
        self._bucket = await bus.bucket(subjects.DATASETS_BUCKET)
        for dataset in shipped_datasets():
            try:
                await self._bucket.create(dataset_key(dataset), Datasets(datasets=[dataset]))
            except StaleError:
                continue
        self._watch = await self._bucket.watch(self._saw)

    async def stop(self) -> None:
        """Follow no more."""
        if self._watch is not None:
            await self._watch.stop()

    def _saw(self, key: str, message: Message | None, revision: int) -> None:
        if revision <= self._revisions.get(key, 0):
            return  # we wrote what came after it
        self._revisions[key] = revision
        before = self._by_key.pop(key, None)
        if before is not None:
            self.known.remove(before)
        if not isinstance(message, Datasets):
            return
        for dataset in message.datasets[:1]:
            try:
                self.known.add(dataset)
            except MLModelScopeError as exc:
                self._counters["bad_manifests"] += 1
                log.warning("dataset left out", extra={"key": key, "error": str(exc)})
                continue
            self._by_key[key] = dataset

    async def publish(self, request: Publish) -> Done | Refused:
        """Make a dataset known."""
        assert request.dataset is not None
        try:
            dataset = check_dataset(request.dataset, request.dataset.name or "dataset")
        except MLModelScopeError as exc:
            return Refused(kind="manifest", text=str(exc))
        dataset = replace(dataset, owner=dataset.owner or request.user)
        title, key = f"dataset {dataset.name} {dataset.version}", dataset_key(dataset)
        got = await self._bucket.get(key)
        there = got[0].datasets if got is not None and isinstance(got[0], Datasets) else []
        if there:
            if replace(there[0], owner=dataset.owner) == dataset:
                return Done(text=f"{title} was published already")
            text = f"{title} is published with another content, and results are compared by version"
            return Refused(kind="changed", text=f"{text}: raise the version, or unpublish it first")
        entry = Datasets(datasets=[dataset])
        await self._put(key, entry, got[1] if got is not None else None)
        log.info("published", extra={"dataset": title, "user": request.user})
        return Done(text=f"{title} is published")

    async def unpublish(self, request: Unpublish) -> Done | Refused:
        """Let a dataset be known no more."""
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
        got = await self._bucket.get(dataset_key(found[0]))
        if got is not None:
            await self._put(dataset_key(found[0]), Datasets(datasets=[]), got[1])
        return Done(text=f"dataset {found[0].name} {version} is published no longer")

    async def _put(self, key: str, entry: Datasets, revision: int | None) -> None:
        """Compare-and-set; StaleError where somebody else was quicker: ask again."""
        if revision is None:
            revision = await self._bucket.create(key, entry)
        else:
            revision = await self._bucket.update(key, entry, revision)
        self._saw(key, entry, revision)  # who asks us next need not wait for the watch


def dataset_key(dataset: DatasetManifest) -> str:
    """Where a dataset lies in the bucket: names that differ in case alone are one name."""
    return f"{subjects.token(dataset.name.casefold())}.{subjects.token(dataset.version)}"
