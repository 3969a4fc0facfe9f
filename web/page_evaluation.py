"""The page of one evaluation: live until it ends, then all there is; its sections load themselves.

No span is fetched for the page: what needs spans are sections (web/evaluation_parts.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from aiohttp import web

from analysis import formats
from analysis.summary import Result
from bus.errors import InputError, NotStoredError
from bus.messages import Message
from mlmodelscope import perfetto_view
from mlmodelscope.evaluating import queued
from mlmodelscope.report import claim_text, latency_notes
from mlmodelscope.report_one import merged, plain, under_load
from mlmodelscope.report_setting import environment_of, settings_of
from web import asking, charts, stored
from web.asked_again import asked_again
from web.evaluation_parts import TITLES
from web.evidence import is_deep
from web.page_evaluate import address_of
from web.page_parts import shown
from web.rendering import Page
from web.said import said


async def evaluation(request: web.Request) -> web.Response:
    """One evaluation."""
    state, name = Page.state(request), request.match_info["evaluation"]
    try:
        known = await stored.known(state.client, name)
    except NotStoredError:
        if name not in state.asked:
            raise
        # It was accepted a moment ago, and nothing of it is stored yet.
        return Page.render(request, "live.html", id=name, result=None)
    if known.evaluation_id != name:
        raise web.HTTPSeeOther(f"/evaluations/{known.evaluation_id}")
    result = known.result
    if result.state == "running":
        return Page.render(request, "live.html", id=name, result=result)
    told = said(state, known)
    return Page.render(
        request,
        "evaluation.html",
        id=name,
        result=result,
        said=told,
        more=max(0, len(result.predictions) - len(told)),
        claims=[claim_text(row) for row in result.claims],
        notes=[*merged(plain(line) for line in latency_notes(result))],
        loads=shown(under_load(result)),
        figures=charts.distribution(known.facts),
        throughput=charts.throughput(result.latency),
        deep=is_deep(result) or result.recording is not None,
        titles=TITLES,
        first="A6" if is_deep(result) else "A1",
        setting=_setting(known.facts, result),
        formats=[one for one in formats.FORMATS if one.installed],
        viewer=_viewer(request, name),
    )


def _setting(facts: Sequence[Message], result: Result) -> list[tuple[str, list[dict[str, object]]]]:
    """On what it ran and how, under two headings."""
    return [
        ("Environment", shown(environment_of(facts, result))),
        ("Settings, asked for and in effect", shown(settings_of(facts, result))),
    ]


async def queue(request: web.Request) -> web.Response:
    """Where it waits, in words; nothing once a node has it."""
    found = await Page.state(request).client.queue(request.match_info["evaluation"][:40])
    waiting = any(job.position for job in found.jobs)
    return web.Response(text=queued(found) if waiting else "")


# ------------------------------------------------------------------ its timeline


async def timeline(request: web.Request) -> web.Response:
    """The timeline in the Perfetto UI, with the whole window."""
    name = request.match_info["evaluation"]
    return Page.render(request, "timeline.html", id=name, viewer=_viewer(request, name))


def _viewer(request: web.Request, name: str) -> dict[str, str]:
    """The address of the Perfetto UI with this timeline; or why it cannot be shown."""
    try:
        perfetto_view.ui_folder()
    except InputError as exc:
        return {"missing": str(exc).removeprefix("--open needs "), "frame": ""}
    format = "perfetto" if formats.BY_NAME["perfetto"].installed else "chrome"
    trace = f"{request.url.origin()}/api/v1/evaluations/{name}/timeline?format={format}"
    commands = quote(perfetto_view.EXPANDED, safe="")
    frame = f"/perfetto/#!/?url={quote(trace, safe='')}&startupCommands={commands}"
    return {"missing": "", "frame": frame}


# ------------------------------------------------------------------ what is done with it


async def cancel(request: web.Request) -> web.Response:
    """Stop it."""
    Page.needs(request, "run")
    await Page.form(request)
    name = request.match_info["evaluation"]
    await Page.state(request).client.cancel(name)
    raise web.HTTPSeeOther(f"/evaluations/{name}")


async def again(request: web.Request) -> web.Response:
    """Run it once more, as it was; both are shown side by side."""
    Page.needs(request, "run")
    await Page.form(request)
    state = Page.state(request)
    known = await stored.known(state.client, request.match_info["evaluation"])
    asked = asked_again(state, known)
    if asked.notes:
        # Not everything is here: the form says what is to be given again.
        raise web.HTTPSeeOther(f"/evaluate?from={known.evaluation_id}")
    begun = await asking.begin(state, asked.wish)
    raise web.HTTPSeeOther(address_of([known.evaluation_id, begun.evaluation_id]))
