"""The web as one aiohttp application: who comes in, what answers, and its life."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from bus.errors import InputError, MLModelScopeError
from bus.service import status_routes
from mlmodelscope.client import Client
from web import (
    api_analyses,
    api_evaluations,
    api_known,
    api_warm,
    headers,
    inference,
    openapi,
    pages,
    tus,
)
from web.access import SAFE, Access
from web.clients import Clients
from web.open_models import OpenModels
from web.partial_uploads import PartialUploads
from web.problems import ProblemError, problem_of
from web.roles import Visitor
from web.settings import Settings
from web.state import State
from web.uploads import Uploads
from web.warm_models import WarmModels

log = logging.getLogger(__name__)
OPERATIONS = (
    *api_known.OPERATIONS,
    *api_evaluations.OPERATIONS,
    *api_analyses.OPERATIONS,
    *api_warm.OPERATIONS,
)
BODY_BYTES = 8 << 20
"""What a body may hold that is no upload."""
OPEN = ("/login", "/static/", "/healthz", "/readyz", "/v2/health/")
"""What needs no login."""
PROGRAMS = ("/api/", "/v2", "/readyz", "/status", "/metrics")
REMEMBERED = 10_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(client: Client, settings: Settings) -> AsyncIterator[str]:
    """The web, served inside this block with a client that is connected; its address."""
    access = Access(settings)
    with tempfile.TemporaryDirectory(prefix="mlms-uploads-") as folder:
        uploads = Uploads(Path(folder), settings.upload_bytes, settings.uploads_bytes)
        partial = PartialUploads(Path(folder), uploads)
        clients = Clients(client, logs_in=access.asks, credentials=settings.credentials)
        warm, held = WarmModels(settings.warm_models), OpenModels(settings.warm_models)
        state = State(clients, settings, access, uploads, partial, warm, held)
        runner = web.AppRunner(application(state), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await _listen(runner, settings)
            yield f"http://{settings.host}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
            await state.end()


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
    except (OSError, OverflowError) as exc:
        raise InputError(
            f"cannot serve at {settings.host}:{settings.port}: {exc}; --port 0 takes a free one"
        ) from exc


def application(state: State) -> web.Application:
    """Every path, behind the door."""
    largest = max(BODY_BYTES, state.settings.upload_bytes + (1 << 20))
    app = web.Application(middlewares=[_problems, _door(state)], client_max_size=largest)
    app[State.KEY] = state
    app.on_response_prepare.append(headers.add)
    for one in OPERATIONS:
        app.router.add_route(one.method, one.path, one.__call__)
    for method, path, one in (*inference.routes(), *tus.routes()):
        app.router.add_route(method, path, one.__call__)
    described = msgspec.json.encode(openapi.document(OPERATIONS, version("mlmodelscope")))

    async def document(_: web.Request) -> web.Response:
        return web.Response(body=described, content_type="application/json")

    app.router.add_get("/api/v1/openapi.json", document)
    app.add_routes(status_routes(state.status))
    pages.add(app)
    return app


def _door(state: State) -> Any:
    """Refuses who may not come in, before anything is read of what was sent."""
    changes = _Changes(state.settings.changes_a_minute)

    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        access = state.access
        if wrong := access.wrong_host(request):
            raise ProblemError(421, "host", wrong)
        if foreign := access.foreign(request):
            raise ProblemError(403, "foreign", foreign)
        visitor = request["visitor"] = access.visitor(request)
        who = visitor.name if access.asks and visitor.role else request.remote or ""
        if request.method not in SAFE and not changes.allowed(who):
            problem = ProblemError(429, "rate", "too many changes from here: wait a minute")
            state.status.counters["rate_limited"] += 1
            problem.headers = {"Retry-After": str(60 - int(time.monotonic() % 60))}
            raise problem
        free = request.path == "/login" or request.path.startswith(OPEN[1:])
        if not visitor.role and not free:
            if request.path.startswith(PROGRAMS):
                raise ProblemError(401, "token", "expected a header `Authorization: Bearer TOKEN`")
            raise web.HTTPSeeOther("/login")
        await state.clients.enter(Visitor() if free else visitor)
        response = await handler(request)
        state.status.counters["requests"] += 1
        return response

    return door


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error as what its reader expects: a problem document, or a page that says it."""
    request["visitor"] = None
    try:
        return await handler(request)
    except ProblemError as exc:
        problem = exc
    except MLModelScopeError as exc:
        problem = problem_of(exc)
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        problem = ProblemError(exc.status, "http", exc.text or exc.reason)
        if exc.status == 405:
            problem.headers = {"Allow": exc.headers.get("Allow", "")}
    except (ConnectionError, TimeoutError) as exc:
        problem = ProblemError(503, "bus", f"no answer from the system: {exc}")
    except Exception:
        log.exception("a request failed", extra={"path": request.path})
        problem = ProblemError(500, "internal", "this is a fault of the web server: see its log")
    if request.path.startswith("/v2"):
        problem.more.setdefault("error", problem.detail)
    if request.path.startswith(PROGRAMS) or "html" not in request.headers.get("Accept", ""):
        return problem.response()
    return pages.problem(request, problem)


class _Changes:
    """How many changes each visitor or address made within this minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def allowed(self, address: str) -> bool:
        """Count one, and say whether it is within the limit."""
        minute = int(time.monotonic() // 60)
        since, count = self._made.pop(address, (minute, 0))
        count = count + 1 if since == minute else 1
        self._made[address] = minute, count
        while len(self._made) > REMEMBERED:
            self._made.popitem(last=False)
        return count <= self._most
