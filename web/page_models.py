"""The pages of models: which there are, and everything about one."""

from __future__ import annotations

import asyncio

from aiohttp import web

from bus.claims import claims_of
from bus.errors import InputError, RefusedError
from bus.messages import ListHistory, Manifest
from manifests.catalog import not_runnable
from mlmodelscope.model_filters import Filters, chosen
from web.history_rows import shown
from web.problems import ProblemError
from web.rendering import Page

MOST = 200


async def models(request: web.Request) -> web.Response:
    """Search and filters, and what they leave."""
    client = Page.state(request).client
    known = await client.models()
    names = ("task", "framework", "search", "max_size", "weights")
    given = {name: request.query.get(name, "")[:200].strip() for name in names}
    try:
        found, wrong = chosen(known.models, Filters(**given)), ""
    except InputError as exc:
        found, wrong = [], str(exc).removeprefix("--max-size ")
    return Page.render(
        request,
        "models.html",
        groups=_by_name(found)[:MOST],
        count=len({one.name for one in found}),
        most=MOST,
        given=given,
        wrong=wrong,
        tasks=sorted({one.task for one in known.models if one.task}),
        frameworks=sorted({one.framework.name for one in known.models}),
    )


def _by_name(found: list[Manifest]) -> list[list[Manifest]]:
    groups: dict[str, list[Manifest]] = {}
    for one in found:
        groups.setdefault(one.name, []).append(one)
    return list(groups.values())


async def model(request: web.Request) -> web.Response:
    """A model's manifest, where it would run, what was measured of it, what its author says."""
    client, name = Page.state(request).client, request.match_info["model"]
    known, page = await asyncio.gather(
        client.models(name, hidden=True),
        client.history_page(ListHistory(model=name.partition("@")[0], limit=10)),
    )
    if not known.models:
        raise ProblemError(404, "unknown_model", f"no model is called {name}")
    manifest = known.models[0]
    try:
        fitting, why = await client.fits(name), ""
    except RefusedError as exc:
        fitting, why = None, str(exc)
    return Page.render(
        request,
        "model.html",
        manifest=manifest,
        manifests=known.models,
        claims=claims_of(manifest),
        why_not=not_runnable(manifest) or why,
        fitting=fitting,
        rows=[shown(row) for row in page.rows],
    )
