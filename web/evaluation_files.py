"""Files and pictures of an evaluation that its page links to or shows."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from analysis.fifteen import chosen
from bus.messages import Prediction
from mlmodelscope import pictures
from mlmodelscope.tables import as_csv
from web import pixels, samples, stored
from web.evaluation_parts import batch_size, seen
from web.problems import ProblemError
from web.rendering import Page

PNG = "image/png"
FRAME = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
"""The page of a plot: plotly writes style rules of its own."""


# ------------------------------------------------------------------ plots


async def plot(request: web.Request) -> web.Response:
    """One analysis as a plot: a page of its own, for a frame."""
    found = await seen(request)
    (number,) = chosen(request.query.get("what", "A1")[:40] or "A1")
    of = await found.analyses(batch_size(request))
    pictures.need_plotly()
    figure = await asyncio.to_thread(of.figure, number)
    return framed(request, figure)


def framed(request: web.Request, figure: Any) -> web.Response:
    """A plotly figure as the page of a frame."""
    # Inside a script's element only this could end it, or begin a comment.
    code = figure.to_json().replace("<", "\\u003c")
    response = Page.render(request, "plot.html", figure=code)
    response.headers["Content-Security-Policy"] = FRAME
    return response


@cache
def _drawing_code() -> bytes:
    pictures.need_plotly()
    from mlmodelscope.plots import drawing_code

    return drawing_code().encode()


async def drawing(_: web.Request) -> web.Response:
    """Plotly's own code, out of its package."""
    code = await asyncio.to_thread(_drawing_code)
    response = web.Response(body=code, content_type="text/javascript")
    response.enable_compression()
    response.headers["Cache-Control"] = "max-age=3600"
    return response


# ------------------------------------------------------------------ to take away


async def latency_csv(request: web.Request) -> web.Response:
    """Times of each batch size."""
    client = Page.state(request).client
    known = await stored.known(client, request.match_info["evaluation"])
    rows = [msgspec.to_builtins(row) for row in known.result.scenarios or known.result.latency]
    name = quote(f"{known.evaluation_id[:8]}-times.csv")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return web.Response(text=as_csv(rows), content_type="text/csv", headers=headers)


# ------------------------------------------------------------------ pictures


async def class_map(request: web.Request) -> web.Response:
    """A class for each pixel, in colours."""
    found = (await _prediction(request)).map
    if found is None:
        raise ProblemError(404, "picture", "this model names no class for each pixel")
    return _picture(await asyncio.to_thread(pixels.map_png, found))


async def mask(request: web.Request) -> web.Response:
    """The mask of one thing that was found."""
    boxes = (await _prediction(request)).boxes
    at = int(request.match_info["box"])
    data = pixels.mask_png(boxes[at]) if at < len(boxes) else b""
    return _picture(data)


async def image(request: web.Request) -> web.Response:
    """The picture that a model made of its input."""
    found = (await _prediction(request)).image
    if found is None:
        raise ProblemError(404, "picture", "this model makes no picture")
    data = b"" if found.data else await Page.state(request).client.output(found)
    return _picture(await asyncio.to_thread(pixels.image_png, found, data))


async def _prediction(request: web.Request) -> Prediction:
    client = Page.state(request).client
    known = await stored.known(client, request.match_info["evaluation"])
    at = int(request.match_info["at"])
    if at >= len(known.result.predictions):
        raise ProblemError(404, "picture", f"there are {len(known.result.predictions)} predictions")
    return known.result.predictions[at]


def _picture(data: bytes) -> web.Response:
    if not data:
        raise ProblemError(404, "picture", "there is no such picture")
    return web.Response(body=data, content_type=PNG, headers={"Cache-Control": "max-age=600"})


async def sample(request: web.Request) -> web.FileResponse:
    """A sample of a shipped model."""
    found = samples.by_name().get(request.match_info["name"])
    if found is None:
        raise ProblemError(404, "sample", "no such sample of a shipped model is here")
    return web.FileResponse(found.path, headers={"Cache-Control": "max-age=3600"})
