"""The pages of models: which there are, and everything about one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from bus.claims import claims_of
from bus.errors import InputError, RefusedError
from bus.messages import ListHistory, Manifest
from manifests.catalog import dump, not_runnable
from mlmodelscope.model_filters import Filters, chosen, size_bytes
from web.history_rows import shown
from web.known_models import KnownModels
from web.problems import ProblemError
from web.rendering import Page
from web.standing import (
    Accuracy,
    Judged,
    Lately,
    accuracies,
    claimed,
    fastest,
    judged,
    main_accuracy,
)
from web.trend_plot import plots

LATELY = web.AppKey("lately", Lately)
ROWS = 100
HISTORY_ROWS = 500
NAMES = (
    "task",
    "framework",
    "search",
    "max_size",
    "weights",
    "min_accuracy",
    "accuracy_by",
    "sort",
)


@dataclass(frozen=True)
class Listed:
    """One model in the list: its newest manifest, its frameworks, the best accuracy known."""

    one: Manifest
    frameworks: list[str]
    accuracy: Accuracy | None


async def models(request: web.Request) -> web.Response:
    """Search and filters, and what they leave."""
    client = Page.state(request).client
    known, measured = await asyncio.gather(
        request.app[KnownModels.KEY].of(client), request.app[LATELY].of(client)
    )
    given = {name: request.query.get(name, "")[:200].strip() for name in NAMES}
    first = request.query.get("first", "")
    at = int(first) if first.isdecimal() and len(first) < 7 else 0
    try:
        found, wrong = _found(known, given, measured), ""
    except InputError as exc:
        found, wrong = [], str(exc).removeprefix("--max-size ")
    at = min(at, max(0, len(found) - 1) // ROWS * ROWS)
    asked = {name: value for name, value in given.items() if value}
    return Page.render(
        request,
        "models.html",
        rows=found[at : at + ROWS],
        count=len(found),
        at=at,
        before=f"?{urlencode({**asked, 'first': max(0, at - ROWS)})}" if at else "",
        after=f"?{urlencode({**asked, 'first': at + ROWS})}" if len(found) > at + ROWS else "",
        given=given,
        wrong=wrong,
        filtered=bool(asked),
        tasks=sorted({one.task for one in known if one.task}),
        frameworks=sorted({one.framework.name for one in known}),
        may_publish=request["visitor"].may("publish"),
    )


def _found(
    manifests: list[Manifest], given: dict[str, str], measured: dict[str, list[Judged]]
) -> list[Listed]:
    wanted = {k: given[k] for k in ("task", "framework", "max_size", "search", "weights")}
    least = _percent(given["min_accuracy"])
    listed = []
    for group in _by_name(chosen(manifests, Filters(**wanted))):
        known = accuracies(group[0], measured, given["accuracy_by"])
        best = main_accuracy(known)
        if least is not None and (best is None or best.value < least):
            continue
        frameworks = list(dict.fromkeys(one.framework.name for one in group))
        listed.append(Listed(group[0], frameworks, best))
    return sorted(listed, key=_order(given["sort"]))


def _order(sort: str) -> Callable[[Listed], Any]:
    """What the list is sorted by; what is unknown comes last."""
    if sort == "size":
        return lambda row: (not size_bytes(row.one), size_bytes(row.one))
    if sort == "accuracy":
        return lambda row: (row.accuracy is None, -(row.accuracy.value if row.accuracy else 0))
    return lambda row: row.one.name.casefold()


def _percent(text: str) -> float | None:
    """75 or `75 %` as a part of 1."""
    if not text:
        return None
    try:
        value = float(text.removesuffix("%").strip())
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise InputError(f"accuracy {text!r}: expected percent, from 0 to 100")
    return value / 100


def _by_name(found: list[Manifest]) -> list[list[Manifest]]:
    groups: dict[str, list[Manifest]] = {}
    for one in found:
        groups.setdefault(one.name.casefold(), []).append(one)
    return list(groups.values())


async def model(request: web.Request) -> web.Response:
    """A model's manifest, where it would run, what was measured of it, what its author says."""
    client, name = Page.state(request).client, request.match_info["model"]
    bare = name.partition("@")[0]
    known, page, tests = await asyncio.gather(
        client.models(name, hidden=True),
        client.history_page(ListHistory(model=bare, limit=HISTORY_ROWS)),
        client.history_page(ListHistory(model=bare, dataset="*", limit=HISTORY_ROWS)),
    )
    if not known.models:
        near = await request.app[KnownModels.KEY].of(client)
        raise ProblemError(404, "unknown_model", f"no model is called {name}", **_near(name, near))
    manifest = known.models[0]
    try:
        fitting, why = await client.fits(name), ""
    except RefusedError as exc:
        fitting, why = None, str(exc)
    speeds, rights = fastest(page.rows), judged(tests.rows)
    return Page.render(
        request,
        "model.html",
        manifest=manifest,
        manifests=known.models,
        text=dump(manifest),
        claims=claimed(claims_of(manifest), speeds, rights),
        speeds=speeds[:12],
        rights=rights,
        why_not=not_runnable(manifest) or why,
        fitting=fitting,
        plots=await plots(page.rows, 1),
        rows=[shown(row) for row in page.rows[:10]],
        more=len(page.rows) > 10,
        may_publish=request["visitor"].may("publish"),
    )


def _near(name: str, known: list[Manifest]) -> dict[str, list[str]]:
    from bus.errors import nearest

    return {"nearest": nearest(name, list(dict.fromkeys(one.name for one in known)))}


async def manifest_file(request: web.Request) -> web.Response:
    """A model's newest manifest as the YAML that `mlmodelscope publish` reads."""
    client, name = Page.state(request).client, request.match_info["model"]
    known = (await client.models(name, hidden=True)).models
    if not known:
        raise ProblemError(404, "unknown_model", f"no model is called {name}")
    return web.Response(text=dump(known[0]), content_type="application/yaml", charset="utf-8")
