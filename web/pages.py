"""The pages: Jinja templates that escape everything, and the paths at which they lie."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import quote

import jinja2
from aiohttp import web

from bus.errors import InputError
from bus.messages import ListHistory
from mlmodelscope import perfetto_view, tables
from mlmodelscope.model_filters import shown_size, size_bytes
from web import (
    evaluation_routes,
    page_fleet,
    page_history,
    page_known,
    page_models,
    page_publish,
)
from web.access import COOKIE
from web.history_rows import shown
from web.known_models import KnownModels
from web.problems import ProblemError
from web.rendering import Page
from web.standing import Lately

HERE = Path(__file__).parent
FIRST = "EfficientNet-Lite0"
"""The model that a newcomer is offered, where it is known."""


def environment() -> jinja2.Environment:
    """The templates, with the words and numbers as the terminal writes them."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters |= {
        "ms": tables.ms,
        "gib": tables.gib,
        "quoted": lambda text: quote(str(text), safe=""),
        "ago": lambda at_ns: tables.ago(at_ns, time.time_ns()),
        "size": lambda manifest: shown_size(size_bytes(manifest)),
        "shortened": tables.shortened,
        "rate": lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}",
        "mib": lambda size_bytes: f"{size_bytes / 2**20:,.1f} MiB",
    }
    return found


def add(app: web.Application) -> None:
    """Every page, and what they need."""
    app[Page.ENVIRONMENT] = environment()
    app[page_models.LATELY] = Lately()
    known = app[KnownModels.KEY] = KnownModels()
    app.on_response_prepare.append(known.forget)
    watches = app[page_fleet.WATCHES] = page_fleet.Watches()
    app.on_shutdown.append(watches.end)
    routes = {
        "/": start,
        "/models": page_models.models,
        "/models/{model}": page_models.model,
        "/models/{model}/manifest.yml": page_models.manifest_file,
        "/datasets": page_known.datasets,
        "/datasets/{dataset}": page_known.dataset,
        "/frameworks": page_known.frameworks,
        "/frameworks/{framework}": page_known.framework,
        "/publish": page_publish.form,
        "/history": page_history.history,
        "/trends": page_history.trends,
        "/fleet": page_fleet.fleet,
        "/fleet/events": page_fleet.events,
        "/login": login_form,
    }
    for path, handler in routes.items():
        app.router.add_get(path, handler)
    app.router.add_post("/publish", page_publish.publish)
    app.router.add_post("/publish/check", page_publish.check)
    app.router.add_post("/{what:models|datasets}/{name}/withdraw", page_publish.withdraw)
    evaluation_routes.add(app)
    app.router.add_post("/login", login)
    app.router.add_post("/logout", logout)
    app.router.add_static("/static/", HERE / "static")
    try:
        ui = perfetto_view.ui_folder()
    except InputError:
        return  # the page of a timeline says how to have it

    async def viewer(_: web.Request) -> web.FileResponse:
        return web.FileResponse(ui / "index.html")

    app.router.add_get("/perfetto/", viewer)
    app.router.add_get("/perfetto/service_worker.js", _nothing)
    app.router.add_static("/perfetto/", ui)


async def _nothing(_: web.Request) -> web.Response:
    raise web.HTTPNotFound


async def start(request: web.Request) -> web.Response:
    """What this is, what runs now, the last results."""
    client = Page.state(request).client
    now, page, nodes, known = await asyncio.gather(
        client.history_page(ListHistory(state="running", limit=8)),
        client.history_page(ListHistory(limit=16)),
        client.nodes(),
        request.app[KnownModels.KEY].of(client),
    )
    ended = [row for row in page.rows if row.state != "running"]
    names = list(dict.fromkeys(one.name for one in known))
    return Page.render(
        request,
        "start.html",
        running=[shown(row) for row in now.rows],
        rows=[shown(row) for row in ended[:8]],
        nodes=len(nodes),
        models=len(names),
        first=FIRST if FIRST in names else next(iter(names), ""),
    )


# ------------------------------------------------------------------ who comes in


async def login_form(request: web.Request) -> web.Response:
    """Where a token is given."""
    return Page.render(request, "login.html", wrong=False)


async def login(request: web.Request) -> web.Response:
    """A session for whoever has a token."""
    state = Page.state(request)
    given = await request.post()
    visitor = state.access.login(str(given.get("token", ""))[:500])
    if visitor is None:
        await asyncio.sleep(0.2)
        return Page.render(request, "login.html", status=403, wrong=True)
    response = web.HTTPSeeOther("/")
    Page.keep_session(request, response, visitor.session)
    return response


async def logout(request: web.Request) -> web.Response:
    """The end of a session."""
    await Page.form(request)
    Page.state(request).access.logout(request["visitor"])
    response = web.HTTPSeeOther("/login")
    response.del_cookie(COOKIE)
    return response


def problem(request: web.Request, found: ProblemError) -> web.Response:
    """An error as a page."""
    response = Page.render(request, "problem.html", status=found.status, problem=found.document())
    response.headers.update(found.headers)
    return response
