"""The pages of datasets and of frameworks: which there are, and everything about one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from aiohttp import web

from bus.errors import nearest
from bus.messages import DatasetManifest, FrameworkSeen, ListHistory, Manifest, NodeSeen
from manifests.catalog import dump
from web.framework_settings import settings_of
from web.history_rows import shown
from web.known_models import KnownModels
from web.problems import ProblemError
from web.rendering import Page
from web.standing import judged

MOST_MODELS = 60


async def datasets(request: web.Request) -> web.Response:
    """Search and filters, and what they leave."""
    known = await Page.state(request).client.datasets()
    given = {name: request.query.get(name, "")[:200].strip() for name in ("search", "task")}
    found = [
        one
        for one in known
        if (not given["task"] or one.task == given["task"]) and _holds(one, given["search"])
    ]
    return Page.render(
        request,
        "datasets.html",
        found=_newest(found),
        given=given,
        tasks=sorted({one.task for one in known if one.task}),
        may_publish=request["visitor"].may("publish"),
    )


def _newest(found: Iterable[DatasetManifest]) -> list[DatasetManifest]:
    newest: dict[str, DatasetManifest] = {}
    for one in found:
        newest.setdefault(one.name.casefold(), one)
    return list(newest.values())


def _holds(one: DatasetManifest, words: str) -> bool:
    text = " ".join((one.name, one.description, one.task, one.author, one.format)).casefold()
    return all(word in text for word in words.casefold().split())


async def dataset(request: web.Request) -> web.Response:
    """A dataset's manifest, and how right models were on it."""
    client, name = Page.state(request).client, request.match_info["dataset"]
    bare = name.partition("@")[0]
    found, page, models = await asyncio.gather(
        client.datasets(name),
        client.history_page(ListHistory(dataset=bare, limit=500)),
        request.app[KnownModels.KEY].of(client),
    )
    if not found:
        near = nearest(name, [one.name for one in await client.datasets()])
        text = f"no dataset is called {name}"
        raise ProblemError(404, "unknown_dataset", text, near_datasets=near)
    manifest = found[0]
    alike = [one.name for one in models if one.task == manifest.task]
    return Page.render(
        request,
        "dataset.html",
        manifest=manifest,
        manifests=found,
        text=dump(manifest),
        rights=judged(page.rows),
        models=list(dict.fromkeys(alike)),
        most=MOST_MODELS,
        rows=[shown(row) for row in page.rows[:10]],
        more=len(page.rows) > 10,
        may_publish=request["visitor"].may("publish"),
    )


# ------------------------------------------------------------------ frameworks


@dataclass
class Framework:
    """A framework: each build that a node can load, and the models that are for it."""

    name: str
    builds: list[tuple[str, FrameworkSeen]] = field(default_factory=list)
    """(node, build)"""
    installable: list[str] = field(default_factory=list)
    """Nodes that would install it on demand."""
    models: list[Manifest] = field(default_factory=list)

    @property
    def versions(self) -> list[str]:
        """Every version that runs somewhere."""
        return sorted({build.version for _, build in self.builds})


async def frameworks(request: web.Request) -> web.Response:
    """Every framework that a node loads or a model wants."""
    return Page.render(request, "frameworks.html", found=await _frameworks(request))


async def framework(request: web.Request) -> web.Response:
    """Its versions, where it runs, with which devices and levels, and its models."""
    name = request.match_info["framework"]
    found = await _frameworks(request)
    one = next((one for one in found if one.name.casefold() == name.casefold()), None)
    if one is None:
        known = ", ".join(other.name for other in found) or "none is known"
        raise ProblemError(404, "unknown_framework", f"no framework is called {name}: {known}")
    page = await Page.state(request).client.history_page(ListHistory(framework=one.name, limit=10))
    return Page.render(
        request,
        "framework.html",
        one=one,
        settings=settings_of(build for _, build in one.builds),
        names=list(dict.fromkeys(manifest.name for manifest in one.models)),
        most=MOST_MODELS,
        rows=[shown(row) for row in page.rows],
    )


async def _frameworks(request: web.Request) -> list[Framework]:
    client = Page.state(request).client
    nodes, known = await asyncio.gather(client.nodes(), request.app[KnownModels.KEY].of(client))
    return gathered(nodes, known)


def gathered(nodes: Iterable[NodeSeen], models: Iterable[Manifest]) -> list[Framework]:
    """The frameworks of nodes and of models, by name whatever its case."""
    found: dict[str, Framework] = {}

    def of(name: str) -> Framework:
        return found.setdefault(name.casefold(), Framework(name))

    for seen in nodes:
        for build in seen.node.frameworks:
            of(build.name).builds.append((seen.node.node_id, build))
        for name in seen.node.builds:
            of(name).installable.append(seen.node.node_id)
    for manifest in models:
        of(manifest.framework.name).models.append(manifest)
    return sorted(found.values(), key=lambda one: (not one.builds, one.name.casefold()))
