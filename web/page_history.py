"""The pages of what was measured before: the list with its filters, and how times went."""

from __future__ import annotations

from dataclasses import fields
from urllib.parse import urlencode

from aiohttp import web

from bus.errors import InputError
from mlmodelscope.past import Past, page_of
from mlmodelscope.trending import NEWEST
from web.history_rows import shown
from web.known_models import KnownModels
from web.problems import ProblemError
from web.rendering import Page
from web.trend_plot import plots

ROWS = 25
MOST_PLOTS = 12
STATES = ("running", "finished", "failed", "cancelled")


async def history(request: web.Request) -> web.Response:
    """Past evaluations, a page of them, by the filters that the command line has."""
    past = _past(request)
    given = {field.name: getattr(past, field.name) for field in fields(past)}
    before = request.query.get("before_ns", "0")
    if not before.isdecimal() or len(before) > 19:
        raise ProblemError(422, "query", "before_ns: expected whole nanoseconds")
    rows, older, wrong = [], "", ""
    try:
        page = await page_of(Page.state(request).client, past, min(int(before), 2**63 - 1), ROWS)
    except InputError as exc:
        wrong = str(exc)
    else:
        rows = [shown(row) for row in page.rows]
        asked = {name: value for name, value in given.items() if value}
        if page.next_before_ns:
            older = f"?{urlencode({**asked, 'before_ns': page.next_before_ns})}"
    return Page.render(
        request,
        "history.html",
        rows=rows,
        filters=given,
        states=STATES,
        older=older,
        wrong=wrong,
        paged=before != "0",
        filtered=any(given.values()),
    )


async def trends(request: web.Request) -> web.Response:
    """How one model's times went, a plot a series, with what changed."""
    client, past = Page.state(request).client, _past(request)
    drawn, wrong, left_out = [], "", 0
    if past.model:
        asked = Past(
            model=past.model,
            framework=past.framework,
            node=past.node,
            since=past.since,
            until=past.until,
            state="finished",
        )
        try:
            page = await page_of(client, asked, 0, NEWEST)
        except InputError as exc:
            wrong = str(exc)
        else:
            drawn = await plots(page.rows, MOST_PLOTS + 1)
            left_out = page.next_before_ns
    known = await request.app[KnownModels.KEY].of(client)
    return Page.render(
        request,
        "trends.html",
        past=past,
        plots=drawn[:MOST_PLOTS],
        more=len(drawn) > MOST_PLOTS,
        left_out=bool(left_out),
        wrong=wrong,
        names=list(dict.fromkeys(one.name for one in known)),
        most=NEWEST,
    )


def _past(request: web.Request) -> Past:
    given = {
        field.name: request.query.get(field.name, "")[:300].strip()
        for field in fields(Past)
        if field.name != "batch_size"
    }
    size = request.query.get("batch_size", "").strip()
    if size and not (size.isdecimal() and len(size) < 8):
        raise ProblemError(422, "query", "batch_size: expected a whole number")
    return Past(**given, batch_size=int(size or 0))
