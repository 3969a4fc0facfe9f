"""The manifests that are known by name: the bucket mlms_manifests is the truth, this follows it.

A model that was withdrawn leaves an empty entry, so that the package's own models are not put
back when the next coordinator starts.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from msgspec.structs import replace

from bus import subjects
from bus.buckets import Watch
from bus.connection import Bus
from bus.errors import MLModelScopeError, StaleError, UnknownNameError
from bus.messages import Done, Manifest, Message, Models, Publish, Refused, Unpublish
from manifests.catalog import Catalog, check, not_runnable, shipped
from manifests.version import normalise
from manifests.zoo import Zoo

log = logging.getLogger(__name__)

TRIES = 20


class Shelf:
    """What was published; `catalog` is what it says now."""

    def __init__(self, counters: Counter[str], zoo: Zoo) -> None:
        self._zoo = zoo
        self.catalog = Catalog(zoo=zoo)
        self._counters = counters
        self._by_key: dict[str, Manifest] = {}
        self._revisions: dict[str, int] = {}
        self._watch: Watch | None = None

    def __len__(self) -> int:
        return len(self._by_key)

    async def start(self, bus: Bus) -> None:
        """Put the package's manifests there, unless somebody has dealt with them, and follow."""
        self._bucket = await bus.bucket(subjects.MANIFESTS_BUCKET)
        for manifest in shipped():
            try:
                await self._bucket.create(manifest_key(manifest), Models(models=[manifest]))
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
        known = self._by_key.pop(key, None)
        if known is not None:
            self.catalog.remove(known)
        if not isinstance(message, Models):
            return
        for manifest in message.models[:1]:
            try:
                self.catalog.add(manifest)
            except MLModelScopeError as exc:
                self._counters["bad_manifests"] += 1
                log.warning("manifest left out", extra={"key": key, "error": str(exc)})
                continue
            self._by_key[key] = manifest

    # ---------------------------------------------------------------- what is asked

    async def publish(self, request: Publish) -> Done | Refused:
        """Make a manifest known; one that cannot be run is shown with the reason."""
        assert request.manifest is not None
        try:
            manifest = check(request.manifest, request.manifest.name or "manifest")
        except MLModelScopeError as exc:
            return Refused(kind="manifest", text=str(exc))
        manifest = replace(manifest, owner=manifest.owner or request.user)
        title = f"{manifest.name} {manifest.version} for {manifest.framework.name}"
        answers: list[Done | Refused] = []

        def change(there: Manifest | None) -> Models | None:
            there = there or self._in_zoo(manifest)
            if there is None:
                return Models(models=[manifest])
            if replace(there, owner=manifest.owner) == manifest:
                answers.append(Done(text=f"{title} was published already"))
            else:
                answers.append(Refused(kind="changed", text=_changed(title, there, manifest)))
            return None

        await self._move(self._key(manifest), change)
        if answers:
            return answers[0]
        log.info("published", extra={"model": title, "user": request.user})
        why_not = not_runnable(manifest)
        return Done(text=f"{title} is published{f'; not runnable: {why_not}' if why_not else ''}")

    async def unpublish(self, request: Unpublish) -> Done | Refused:
        """Let a manifest be known no more."""
        found = self._meant(request)
        if isinstance(found, Refused):
            return found
        await self._move(
            self._key(found), lambda there: Models(models=[]) if there is not None else None
        )
        title = f"{found.name} {found.version} for {found.framework.name}"
        log.info("unpublished", extra={"model": title, "user": request.user})
        return Done(text=f"{title} is published no longer")

    def _meant(self, request: Unpublish) -> Manifest | Refused:
        """The one manifest that a request names."""
        try:
            version = normalise(request.version)
            known = self.catalog.versions(request.name, request.user)
        except UnknownNameError as exc:
            return Refused(kind="unknown_model", text=str(exc), nearest=list(exc.nearest))
        except MLModelScopeError as exc:
            return Refused(kind="bad_request", text=str(exc))
        wanted = request.framework.casefold()
        found = [
            manifest
            for manifest in known
            if manifest.version == version
            and (not wanted or manifest.framework.name.casefold() == wanted)
        ]
        # One's own (private) lies before a public one of the same framework, and is meant.
        found = list({m.framework.name.casefold(): m for m in reversed(found)}.values())
        if len(found) == 1 and found[0] == self._in_zoo(found[0]):
            text = f"{request.name} {version} comes with the list of its library: not withdrawn"
            return Refused(kind="bad_request", text=text)
        if len(found) == 1:
            return _owned(found[0], request)
        there = ", ".join(f"{m.version} for {m.framework.name}" for m in found or known)
        if found:
            text = f"{request.name} {version} is there {there}: say for which framework"
            return Refused(kind="bad_request", text=text)
        asked = f"{version} for {request.framework}" if request.framework else version
        text = f"{request.name} {asked} is not published; there is: {there}"
        return Refused(kind="unmet_version", text=text)

    def _in_zoo(self, manifest: Manifest) -> Manifest | None:
        """The zoo's own model of this name, version and framework."""
        there = self._zoo.find(manifest.name)
        return there if there is not None and _variant(there) == _variant(manifest) else None

    # ---------------------------------------------------------------- the bucket

    def _key(self, manifest: Manifest) -> str:
        """Where a manifest lies: names that differ in case alone are one name."""
        same = _variant(manifest)
        keys = (key for key, known in self._by_key.items() if _variant(known) == same)
        return next(keys, manifest_key(manifest))

    async def _move(self, key: str, change: Callable[[Manifest | None], Models | None]) -> None:
        """Compare-and-set on one key; `change` of what lies there gives what shall, or None."""
        for _ in range(TRIES):
            got = await self._bucket.get(key)
            entry, revision = got if got is not None else (None, 0)
            there = entry.models[0] if isinstance(entry, Models) and entry.models else None
            changed = change(there)
            if changed is None:
                return
            try:
                if got is None:
                    revision = await self._bucket.create(key, changed)
                else:
                    revision = await self._bucket.update(key, changed, revision)
            except StaleError:
                continue
            self._saw(key, changed, revision)  # who asks us next need not wait for the watch
            return
        raise StaleError(subjects.MANIFESTS_BUCKET, key)


def manifest_key(manifest: Manifest) -> str:
    """Where a manifest lies in the bucket mlms_manifests; a private one under its owner's name."""
    parts = [manifest.name, manifest.version, manifest.framework.name]
    if manifest.visibility == "private":
        parts.append(manifest.owner)
    return ".".join(subjects.token(part) for part in parts)


def _variant(manifest: Manifest) -> tuple[str, str, str, str]:
    name, framework = manifest.name.casefold(), manifest.framework.name.casefold()
    owner = manifest.owner if manifest.visibility == "private" else ""
    return name, manifest.version, framework, owner


def _owned(manifest: Manifest, request: Unpublish) -> Manifest | Refused:
    """What a user asks to withdraw, if it is theirs, or nobody's."""
    if manifest.owner in ("", request.user):
        return manifest
    title = f"{manifest.name} {manifest.version} for {manifest.framework.name}"
    text = f"{title} belongs to {manifest.owner}: expected its owner to withdraw it"
    return Refused(kind="bad_request", text=text)


def _changed(title: str, there: Manifest, manifest: Manifest) -> str:
    """Why a manifest is not put in another's place, and what to do."""
    if _variant(there) != _variant(manifest):
        return f"{title} is too like {there.name} {there.version}: choose another name"
    return (
        f"{title} is published with another content, and results are compared by version: "
        "raise the version, or unpublish it first"
    )
