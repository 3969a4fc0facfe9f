"""The pages of one evaluation: live until it ends, then all there is; several side by side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from analysis import formats
from analysis.layers import LayerRow
from analysis.summary import Result
from bus.errors import InputError, MLModelScopeError, NotStoredError
from bus.messages import LEVELS, Prediction
from mlmodelscope import perfetto_view
from mlmodelscope.predictions import cells_of
from mlmodelscope.report import claim_text
from web import charts, stored
from web.problems import ProblemError
from web.rendering import Page
from web.state import State

MODEL = LEVELS.index("model")
MOST_SHOWN = 50
MOST_TOGETHER = 12


@dataclass(frozen=True)
class Said:
    """What a model says of one input: as tables, and the picture where it was sent to us."""

    prediction: Prediction
    picture: str
    media: str
    tables: list[dict[str, Any]]


async def evaluation(request: web.Request) -> web.Response:
    """One evaluation."""
    state, name = Page.state(request), request.match_info["evaluation"]
    try:
        known = await stored.known(state.client, name)
    except NotStoredError:
        if name not in state.inputs:
            raise
        # It was accepted a moment ago, and nothing of it is stored yet.
        return Page.render(request, "live.html", id=name, result=None)
    if known.evaluation_id != name:
        raise web.HTTPSeeOther(f"/evaluations/{known.evaluation_id}")
    result = known.result
    if result.state == "running":
        return Page.render(request, "live.html", id=name, result=result)
    return Page.render(
        request,
        "evaluation.html",
        id=name,
        result=result,
        said=said(state, known.evaluation_id, result),
        more=max(0, len(result.predictions) - MOST_SHOWN),
        claims=[claim_text(row) for row in result.claims],
        figures=charts.distribution(known.facts),
        throughput=charts.throughput(result.latency),
        deep=_deep(result),
        formats=[one for one in formats.FORMATS if one.installed],
        again=_again(result),
    )


def _deep(result: Result) -> bool:
    return any(LEVELS.index(level) > MODEL for level in result.spans)


def _again(result: Result) -> str:
    """The form of the page Evaluate, filled as this one was."""
    sizes = ",".join(str(row.batch_size) for row in result.latency)
    deepest = max((LEVELS.index(level) for level in result.spans), default=MODEL)
    given = {
        "model": result.model,
        "batch_sizes": sizes or "1",
        "runs": str(result.latency[0].queries if result.latency else 100),
        "trace": LEVELS[deepest],
        "place": f"{result.node_id}|{result.framework}|{result.environment}",
    }
    return f"/evaluate?{urlencode(given)}"


def said(state: State, evaluation_id: str, result: Result) -> list[Said]:
    """Each input's predictions; of a dataset's, the command line and the API tell them."""
    if result.dataset:
        return []
    sent = state.inputs.get(evaluation_id, ())
    told = result.predictions[:MOST_SHOWN]
    found = []
    for at, one in enumerate(told):
        picture = media = ""
        if len(sent) == len(result.predictions):
            try:
                upload = state.uploads.find(sent[at])
                picture, media = f"/api/v1/uploads/{upload.upload}", upload.media
            except ProblemError:
                pass  # it made room for others
        found.append(Said(one, picture, media, cells_of(one)))
    return found


async def timeline(request: web.Request) -> web.Response:
    """The timeline in the Perfetto UI, in a frame."""
    name = request.match_info["evaluation"]
    try:
        perfetto_view.ui_folder()
        missing = ""
    except InputError as exc:
        missing = str(exc)
    format = "perfetto" if formats.BY_NAME["perfetto"].installed else "chrome"
    trace = f"{request.url.origin()}/api/v1/evaluations/{name}/timeline?format={format}"
    commands = quote(perfetto_view.EXPANDED, safe="")
    frame = f"/perfetto/#!/?url={quote(trace, safe='')}&startupCommands={commands}"
    return Page.render(request, "timeline.html", id=name, frame=frame, missing=missing)


async def cancel(request: web.Request) -> web.Response:
    """Stop it."""
    Page.needs(request, "run")
    await Page.form(request)
    name = request.match_info["evaluation"]
    await Page.state(request).client.cancel(name)
    raise web.HTTPSeeOther(f"/evaluations/{name}")


# ------------------------------------------------------------------ side by side


@dataclass(frozen=True)
class Beside:
    """One of several evaluations: its result, as far as it is known, and its slowest layers."""

    id: str
    result: Result | None
    said: list[Said]
    layers: list[LayerRow]
    ratio: float | None = None


async def together(request: web.Request) -> web.Response:
    """Several evaluations side by side, by input, and how much slower each is than the first."""
    ids = list(dict.fromkeys(filter(None, request.query.get("ids", "").split(","))))
    if not 0 < len(ids) <= MOST_TOGETHER:
        raise ProblemError(422, "query", f"ids: expected 1 to {MOST_TOGETHER} ids, with commas")
    state = Page.state(request)
    found = await asyncio.gather(*(_beside(state, one) for one in ids))
    rows = [one.result.latency[0] for one in found if one.result and one.result.latency]
    alike = len({row.batch_size for row in rows}) == 1  # other batch sizes are no comparison
    quickest = min((row.p50_ns for row in rows if row.p50_ns), default=0) if alike else 0
    shown = [
        Beside(one.id, one.result, one.said, one.layers, _ratio(one, quickest)) for one in found
    ]
    running = any(one.result is None or one.result.state == "running" for one in found)
    most = max((len(one.said) for one in shown), default=0)
    return Page.render(request, "together.html", all=shown, running=running, rows=most)


def _ratio(one: Beside, quickest_ns: int) -> float | None:
    latency = one.result.latency if one.result else []
    return (
        latency[0].p50_ns / quickest_ns if latency and latency[0].p50_ns and quickest_ns else None
    )


async def _beside(state: State, name: str) -> Beside:
    try:
        known = await stored.known(state.client, name)
    except NotStoredError:
        if name not in state.inputs:
            raise
        return Beside(name, None, [], [])
    layers: list[LayerRow] = []
    if known.result.state == "finished" and _deep(known.result):
        try:
            layers = await stored.layers(state.client, known.evaluation_id, 5)
        except MLModelScopeError:
            pass  # the result stands without them
    own = said(state, known.evaluation_id, known.result)
    return Beside(known.evaluation_id, known.result, own, layers)
