"""The pages: Jinja templates that escape everything, and the paths at which they lie."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import jinja2
from aiohttp import web

from bus.errors import InputError
from bus.messages import ListHistory
from mlmodelscope import perfetto_view, tables
from mlmodelscope.model_filters import shown_size, size_bytes
from web import evaluation_routes, page_models
from web.access import COOKIE, SESSION_S
from web.history_rows import shown
from web.problems import ProblemError
from web.rendering import Page

HERE = Path(__file__).parent
ROWS = 25


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
    }
    return found


def add(app: web.Application) -> None:
    """Every page, and what they need."""
    app[Page.ENVIRONMENT] = environment()
    routes = {
        "/": start,
        "/models": page_models.models,
        "/models/{model}": page_models.model,
        "/history": history,
        "/fleet": fleet,
        "/login": login_form,
    }
    for path, handler in routes.items():
        app.router.add_get(path, handler)
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
    page, nodes, known = await asyncio.gather(
        client.history_page(ListHistory(limit=8)), client.nodes(), client.models()
    )
    running = [row for row in page.rows if row.state == "running"]
    ended = [row for row in page.rows if row.state != "running"]
    first = next((m.name for m in known.models if m.name == "EfficientNet-Lite0"), "")
    return Page.render(
        request,
        "start.html",
        running=[shown(row) for row in running],
        rows=[shown(row) for row in ended],
        nodes=len(nodes),
        models=len({one.name for one in known.models}),
        first=first or (known.models[0].name if known.models else ""),
    )


async def history(request: web.Request) -> web.Response:
    """Past evaluations, a page of them."""
    names = ("model", "framework", "node", "user", "state")
    filters = {name: request.query.get(name, "")[:300] for name in names}
    before = request.query.get("before_ns", "0")
    if not before.isdecimal() or len(before) > 19:
        raise ProblemError(422, "query", "before_ns: expected whole nanoseconds")
    asked = ListHistory(**filters, before_ns=min(int(before), 2**63 - 1), limit=ROWS)
    page = await Page.state(request).client.history_page(asked)
    more = {**{k: v for k, v in filters.items() if v}, "before_ns": page.next_before_ns}
    return Page.render(
        request,
        "history.html",
        rows=[shown(row) for row in page.rows],
        filters=filters,
        older=f"?{urlencode(more)}" if page.next_before_ns else "",
        paged=before != "0",
        filtered=any(filters.values()),
    )


async def fleet(request: web.Request) -> web.Response:
    """The nodes, what each can do and is doing."""
    nodes = await Page.state(request).client.nodes()
    return Page.render(request, "fleet.html", nodes=sorted(nodes, key=lambda n: n.node.node_id))


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
    set_session(request, response, visitor.session)
    return response


async def logout(request: web.Request) -> web.Response:
    """The end of a session."""
    await Page.form(request)
    Page.state(request).access.logout(request["visitor"])
    response = web.HTTPSeeOther("/login")
    response.del_cookie(COOKIE)
    return response


def set_session(request: web.Request, response: web.StreamResponse, session: str) -> None:
    """Let the browser come back with it; no script may read it, no other site may send it."""
    response.set_cookie(
        COOKIE,
        session or secrets.token_urlsafe(24),
        httponly=True,
        samesite="Strict",
        secure=request.secure,
        max_age=int(SESSION_S),
    )


def problem(request: web.Request, found: ProblemError) -> web.Response:
    """An error as a page."""
    response = Page.render(request, "problem.html", status=found.status, problem=found.document())
    response.headers.update(found.headers)
    return response
