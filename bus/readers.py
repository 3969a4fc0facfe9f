"""Who may see what comes of an evaluation: everyone, or those who may see what it ran."""

from __future__ import annotations

from collections.abc import Collection

from bus.manifest import DatasetManifest, Manifest

GROUP = "group:"


def readers_of(manifest: Manifest, dataset: DatasetManifest | None, user: str) -> list[str]:
    """Users, and groups as `group:NAME`; none: everyone. Who asked always sees what came of it."""
    private = [one for one in (manifest, dataset) if one is not None and one.visibility != "public"]
    if not private:
        return []
    if len(private) > 1:
        return [user]  # who may see both is nobody's to say here
    (one,) = private
    return list(dict.fromkeys([user, one.owner or user, *(GROUP + name for name in one.groups)]))


def names_of(user: str, groups: Collection[str]) -> list[str]:
    """Everything in a list of readers that means this user."""
    return [user, *(GROUP + name for name in sorted(groups))]
