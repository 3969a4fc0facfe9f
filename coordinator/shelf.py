"""The models that are known by name: who may publish and withdraw them in mlms_manifests."""

from __future__ import annotations

import logging
from collections import Counter

from msgspec.structs import replace

from bus import subjects
from bus.connection import Bus
from bus.errors import MLModelScopeError, UnknownNameError
from bus.messages import Done, Manifest, Models, Publish, Refused, Unpublish
from coordinator.published import CHANGED, Published
from manifests.catalog import Catalog, check, not_runnable, shipped
from manifests.runnable import GroupsOf, in_no_group
from manifests.version import normalise
from manifests.zoo import Zoo

log = logging.getLogger(__name__)


class Shelf:
    """What was published; `catalog` is what it says now."""

    def __init__(self, counters: Counter[str], zoo: Zoo, groups: GroupsOf = in_no_group) -> None:
        self._zoo = zoo
        self.catalog = Catalog(zoo=zoo, groups=groups)
        self._published = Published[Manifest](
            subjects.MANIFESTS_BUCKET,
            self.catalog,
            lambda models: Models(models=models),
            lambda entry: entry.models if isinstance(entry, Models) else [],
            counters,
        )

    def __len__(self) -> int:
        return len(self._published.by_key)

    async def start(self, bus: Bus) -> None:
        """Know the package's manifests, and what was published."""
        await self._published.start(bus, ((manifest_key(each), each) for each in shipped()))

    async def stop(self) -> None:
        """Follow no more."""
        await self._published.stop()

    async def caught_up(self) -> None:
        """Know everything that was published before now."""
        await self._published.caught_up()

    # ---------------------------------------------------------------- what is asked

    async def publish(self, request: Publish) -> Done | Refused:
        """Make a manifest known; one that cannot be run is shown with the reason."""
        assert request.manifest is not None
        try:
            manifest = check(request.manifest, request.manifest.name or "manifest")
        except MLModelScopeError as exc:
            return Refused(kind="manifest", text=str(exc))
        manifest = replace(manifest, owner=manifest.owner or request.user)
        if manifest.owner != request.user:
            return Refused(kind="manifest", text=not_yours(manifest.owner, request.user))
        await self.caught_up()  # for the key: names that differ in case alone are one name
        title = f"{manifest.name} {manifest.version} for {manifest.framework.name}"
        answers: list[Done | Refused] = []

        def change(there: Manifest | None) -> list[Manifest] | None:
            there = there or self._in_zoo(manifest)
            if there is None:
                return [manifest]
            if replace(there, owner=manifest.owner) == manifest:
                answers.append(Done(text=f"{title} was published already"))
            else:
                answers.append(Refused(kind="changed", text=_changed(title, there, manifest)))
            return None

        await self._published.move(self._key(manifest), change)
        if answers:
            return answers[0]
        log.info("published", extra={"model": title, "user": request.user})
        why_not = not_runnable(manifest)
        return Done(text=f"{title} is published{f'; not runnable: {why_not}' if why_not else ''}")

    async def unpublish(self, request: Unpublish) -> Done | Refused:
        """Let a manifest be known no more."""
        await self.caught_up()
        found = self._meant(request)
        if isinstance(found, Refused):
            return found
        await self._published.move(
            self._key(found), lambda there: [] if there is not None else None
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

    def _key(self, manifest: Manifest) -> str:
        """Where a manifest lies: names that differ in case alone are one name."""
        same = _variant(manifest)
        keys = (key for key, known in self._published.by_key.items() if _variant(known) == same)
        return next(keys, manifest_key(manifest))


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


def not_yours(owner: str, user: str) -> str:
    """What to tell who publishes in somebody else's name."""
    return f"owner: expected {user}, who publishes it, or nothing (got {owner})"


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
    return f"{title} {CHANGED}"
