"""What every answer tells a browser: load nothing from elsewhere, run no script but ours."""

from __future__ import annotations

from aiohttp import web

PERFETTO = "/perfetto/"
PAGES = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; font-src 'self'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
VIEWER = (
    "default-src 'self' data: blob: 'unsafe-inline'; script-src 'self' 'unsafe-inline' "
    "'unsafe-eval' 'wasm-unsafe-eval' blob:; connect-src 'self' data: blob:; "
    "frame-ancestors 'self'; base-uri 'none'"
)
"""The Perfetto UI's own page begins with a script inside it, and runs WebAssembly."""


async def add(request: web.Request, response: web.StreamResponse) -> None:
    """Put them on an answer that is about to go."""
    viewer = request.path.startswith(PERFETTO)
    headers = response.headers
    headers.setdefault("Content-Security-Policy", VIEWER if viewer else PAGES)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    shipped = request.path.startswith(("/static/", PERFETTO))
    headers.setdefault("Cache-Control", "max-age=3600" if shipped else "no-store")
