"""Sections of an evaluation's page that load by themselves: what needs spans, or takes a while."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from analysis.accuracy import accuracy
from analysis.answers import Answer
from analysis.fifteen import chosen
from analysis.reconciliation import reconcile
from bus.errors import InputError, MLModelScopeError
from mlmodelscope import answer_words, report
from mlmodelscope.accuracy_report import wrong_parts
from mlmodelscope.page import Part, Rows, Words
from mlmodelscope.report_one import judged_of, plain
from mlmodelscope.report_setting import completeness_of
from web import charts, stored
from web.evidence import Evidences, Seen
from web.page_parts import shown
from web.problems import ProblemError
from web.rendering import Page
from web.state import State

MOST_ROWS = 300
TITLES = {
    "A1": "Latency and throughput over batch sizes",
    "A2": "Layers: everything about each",
    "A3": "Layers: latency, in order",
    "A4": "Layers: memory, in order",
    "A5": "Layers by type: how many",
    "A6": "Layers by type: latency",
    "A7": "Layers by type: memory",
    "A8": "Kernels: everything about each",
    "A9": "Kernels: roofline",
    "A10": "Kernels by name",
    "A11": "Kernels by layer",
    "A12": "Layers: FLOPs, reads, writes, occupancy",
    "A13": "Layers: device against host",
    "A14": "Layers: roofline",
    "A15": "The model: roofline",
    "theoretical": "The least time that the machine allows",
}


async def seen(request: web.Request) -> Seen:
    """The evaluation of the path, spans and all."""
    evidences: Evidences = request.app[Evidences.KEY]
    return await evidences.of(request.match_info["evaluation"])


def batch_size(request: web.Request) -> int:
    """Which batch size is asked about; 0: the best."""
    text = request.query.get("batch_size", "0")
    if not text.isdecimal() or len(text) > 6:
        raise ProblemError(422, "query", "batch_size: expected a number")
    return int(text)


async def layers(request: web.Request) -> web.Response:
    """Every layer: in a strip over time, by type, in a table; and how much of the time they are."""
    found = await seen(request)
    rows = await found.layers()
    covered: list[str] = []
    if found.timeline is not None:
        rows_of = await asyncio.to_thread(reconcile, found.timeline)
        covered = [plain(line) for line in report.coverage_lines(rows_of)]
    return Page.render(
        request,
        "part_layers.html",
        id=found.evaluation_id,
        rows=rows[:MOST_ROWS],
        count=len(rows),
        strip=charts.strip(rows),
        covered=covered,
    )


async def analyses(request: web.Request) -> web.Response:
    """One of the fifteen analyses: its plot, its rows, and what must be said of them."""
    found = await seen(request)
    (number,) = chosen(request.query.get("what", "A1")[:40] or "A1")
    size = batch_size(request)
    try:
        of = await found.analyses(size)
        (answer,) = await asyncio.to_thread(of.answers, number)
        why = answer.unavailable
    except InputError as exc:
        answer, why = None, str(exc)
    sizes = sorted({row.batch_size for row in found.result.latency if row.batch_size})
    here = f"/evaluations/{found.evaluation_id}"
    query = urlencode({"what": number, **({"batch_size": size} if size else {})})
    return Page.render(
        request,
        "part_analysis.html",
        id=found.evaluation_id,
        number=number,
        titles=TITLES,
        sizes=sizes,
        size=size,
        why=why,
        parts=_answered(answer, f"{here}/plot?{query}") if answer is not None and not why else [],
        csv=f"/api/v1{here}/analyses?{query}&format=csv",
    )


def _answered(answer: Answer, plot: str) -> list[dict[str, Any]]:
    rows = answer.table()
    cells = [answer_words.cells(row) for row in rows[:MOST_ROWS]]
    notes = [*answer.notes, *answer_words.reasons(rows)]
    parts: list[Part] = [Rows(cells, answer_words.columns_of(rows))]
    if len(rows) > MOST_ROWS:
        parts.append(Words(f"the first {MOST_ROWS} of {len(rows)} rows: the CSV has all", "note"))
    parts += [Words(note, "note") for note in notes]
    drawn = {"is": "plot", "address": plot, "words": f"{answer.analysis} · {answer.title}"}
    return [drawn, *shown(parts)]


async def metrics(request: web.Request) -> web.Response:
    """What was sampled beside it, over time; and what could not be, and why."""
    state: State = Page.state(request)
    known = await stored.known(state.client, request.match_info["evaluation"])
    lines = await asyncio.to_thread(charts.lines, known.metrics)
    return Page.render(
        request,
        "part_metrics.html",
        lines=lines,
        lost=sum(batch.lost for batch in known.metrics),
        unavailable=known.result.unavailable,
    )


async def judged(request: web.Request) -> web.Response:
    """How right it is on its dataset."""
    state: State = Page.state(request)
    known = await stored.known(state.client, request.match_info["evaluation"])
    rows = await asyncio.to_thread(accuracy, known.facts)
    parts = [part for row in rows for part in (*judged_of(row), *wrong_parts(row))]
    return _parts(request, parts or [Words("nothing of it could be judged")])


async def completeness(request: web.Request) -> web.Response:
    """What was emitted, what is here, what is not."""
    state: State = Page.state(request)
    known = await stored.known(state.client, request.match_info["evaluation"])
    try:
        head = await state.client.timeline_head(known.evaluation_id)
    except MLModelScopeError as exc:
        return _parts(request, [Words(f"no timeline: {exc}", "warning")])
    return _parts(request, [*completeness_of(known.result, head)])


def _parts(request: web.Request, parts: list[Part]) -> web.Response:
    return Page.render(request, "part_words.html", parts=shown(parts))
