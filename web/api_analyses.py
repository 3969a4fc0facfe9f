"""REST: what stored evaluations mean: the fifteen analyses, comparisons, reports."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

from aiohttp import web
from msgspec import Meta, Struct

from analysis.answers import Answer
from analysis.comparison import Comparison, Wanted
from analysis.fifteen import chosen
from analysis.layer_matching import LayerPair
from mlmodelscope import analyze, comparing, comparison_report, reporting
from mlmodelscope.analyses import analyses_of
from mlmodelscope.tables import as_csv
from web.bodies import PLAIN, Count, Name
from web.operations import JSON, Ask, Operation
from web.problems import ProblemError

MOST = 12
AN_ID = r"([0-9a-f]{4,32}|last)"
Ids = Annotated[str, Meta(pattern=rf"^{AN_ID}(,{AN_ID}){{0,{MOST - 1}}}$", max_length=33 * MOST)]
Two = Annotated[str, Meta(pattern=rf"^{AN_ID}(,{AN_ID}){{1,{MOST - 1}}}$", max_length=33 * MOST)]
What = Annotated[str, Meta(pattern=PLAIN, min_length=1, max_length=200)]
Tolerance = Annotated[float, Meta(ge=0, lt=1)]
MEDIA = {
    "json": JSON,
    "csv": "text/csv",
    "html": "text/html",
    "png": "image/png",
    "md": "text/markdown",
    "pdf": "application/pdf",
}
AnalysisFormat = Annotated[str, Meta(pattern="^(json|csv|html|png)$")]
TableFormat = Annotated[str, Meta(pattern="^(json|csv)$")]
ReportFormat = Annotated[str, Meta(pattern="^(html|md|pdf)$")]


class AnalysesQuery(Struct, frozen=True, kw_only=True):
    """what: A1 to A15, their names, `theoretical`, several with commas, or `all` (A1 to A15).

    batch_size: whose layers and kernels; 0: the best one's. format: html and png are the plot of
    one analysis, csv the rows of one; json takes any number.
    """

    what: What = "all"
    batch_size: Count = 0
    format: AnalysisFormat = "json"


class ComparisonQuery(Struct, frozen=True, kw_only=True):
    """ids: each is held against the first, 2 to 12 with commas; the rest as `compare` has it.

    metric: latency, p99, throughput, accuracy, several with commas; empty: all. tolerance: a part.
    """

    ids: Two
    metric: Name = ""
    tolerance: Tolerance = 0.02
    across: Name = ""
    force: bool = False
    layers: bool = False
    format: TableFormat = "json"


class ReportQuery(Struct, frozen=True, kw_only=True):
    """ids: one evaluation, or several that are held against the first, with commas."""

    ids: Ids
    batch_size: Count = 0
    format: ReportFormat = "html"


class Compared(Struct, frozen=True, kw_only=True):
    """One evaluation against the first. layers: matched, where they were asked for and seen."""

    comparison: Comparison
    layers: list[LayerPair] = []


async def list_analyses(ask: Ask) -> list[Answer] | web.Response:
    """What the layers and kernels say."""
    query: AnalysesQuery = ask.query
    numbers = chosen(query.what)
    if query.format != "json" and len(numbers) != 1:
        raise ProblemError(422, "query", f"format {query.format}: expected one analysis in `what`")
    spans = numbers != ["A1"]
    found = await analyses_of(
        ask.state.client, ask.named("evaluation"), query.batch_size, timeline=spans
    )
    answers = await asyncio.to_thread(found.answers, query.what)
    if query.format == "json":
        return answers
    if answers[0].unavailable:
        raise ProblemError(409, "unavailable", answers[0].unavailable)
    with tempfile.TemporaryDirectory(prefix="mlms-web-") as folder:
        path = await asyncio.to_thread(analyze.write, answers[0], Path(folder), query.format)
        return _file(path, query.format)


async def compare_evaluations(ask: Ask) -> list[Compared] | web.Response:
    """Faster, slower, or no evidence."""
    query: ComparisonQuery = ask.query
    names = query.ids.split(",")
    wanted = Wanted(
        metrics=comparing.read_metrics([query.metric]),
        tolerance=query.tolerance,
        across=query.across,
        force=query.force,
    )
    client, shown = ask.state.client, comparing.Shown(query.format, query.layers)
    stored = [await comparing.fetched(client, name, shown) for name in names]
    found = await comparing.against_first(client, stored, wanted)
    if query.format == "csv":
        rows = [row for one in found for row in comparison_report.flat(one)]
        return web.Response(text=as_csv(rows), content_type=MEDIA["csv"])
    pairs = [
        await asyncio.to_thread(comparing.layer_pairs, stored[0], one) if query.layers else []
        for one in stored[1:]
    ]
    return [
        Compared(comparison=one, layers=layers) for one, layers in zip(found, pairs, strict=True)
    ]


async def write_report(ask: Ask) -> web.Response:
    """One file that says it all."""
    query: ReportQuery = ask.query
    names = query.ids.split(",")
    with tempfile.TemporaryDirectory(prefix="mlms-web-") as folder:
        path = Path(folder) / f"report-{names[0][:8]}.{query.format}"
        wish = reporting.Wish(path, query.batch_size)
        reporting.check(names, wish)
        page, _ = await reporting.page_of(ask.state.client, names, wish)
        await asyncio.to_thread(reporting.write, page, path)
        return _file(path, query.format)


def _file(path: Path, form: str) -> web.Response:
    """What was written: to be kept, not shown within our pages, for it brings its own script."""
    headers = {
        "Content-Disposition": f'attachment; filename="{path.name}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return web.Response(body=path.read_bytes(), content_type=MEDIA[form], headers=headers)


OPERATIONS = (
    Operation(
        "GET",
        "/api/v1/evaluations/{evaluation}/analyses",
        list_analyses,
        "The fifteen analyses: rows, or the plot of one",
        query=AnalysesQuery,
        answer=list[Answer],
        media=tuple(MEDIA[form] for form in ("json", "csv", "html", "png")),
        errors=(409,),
        tag="analyses",
        parameters={"evaluation": {"type": "string", "pattern": f"^{AN_ID}$"}},
    ),
    Operation(
        "GET",
        "/api/v1/comparisons",
        compare_evaluations,
        "Evaluations held against the first: faster, slower or no evidence, more or less right",
        query=ComparisonQuery,
        answer=list[Compared],
        media=(JSON, MEDIA["csv"]),
        errors=(404,),
        tag="analyses",
    ),
    Operation(
        "GET",
        "/api/v1/reports",
        write_report,
        "One evaluation, or several held against the first, as one file for people",
        query=ReportQuery,
        media=tuple(MEDIA[form] for form in ("html", "md", "pdf")),
        errors=(404,),
        tag="analyses",
    ),
)
