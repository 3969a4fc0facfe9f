"""The web: pages beside a long history, one of very many spans, and what it adds to a prediction.

`mlmodelscope web` runs as a process of its own beside the services, as a fleet has it; a browser's
part (laying a page out, running its script) is not in these times.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks import services, web_predict, web_store
from benchmarks.effort import Effort
from benchmarks.report import Result, Row
from benchmarks.services import Fleet
from benchmarks.web_pages import Looking, Times, p95_row
from collector.store import Store
from mlmodelscope import servers
from mlmodelscope.client import Client

PAGE_MS, LARGE_MS = 100.0, 1_000.0
SAMPLE = Path(__file__).parents[1] / "manifests" / "models" / "samples" / "seven.png"
MODEL, FRAMEWORK = "MNIST-CNN", "onnxruntime"
MINUTE_NS = 60_000_000_000
PAGES = {
    "the first page": "/",
    "the history's first page": "/history",
    "the history of one model": f"/history?model={MODEL.lower()}-7",
    "the history of one model and user": f"/history?model={MODEL}-7&user=user-7",
    "the history of a model that nobody ran": "/history?model=Nothing",
    "the history of one node and state": "/history?node=nobody&state=failed",
}
OF_ONE = {
    "the page": "/evaluations/{}",
    "what it fetches, the account": "/api/v1/evaluations/{}/timeline/account",
    "what it fetches, the layers": "/api/v1/evaluations/{}/layers?limit=1000",
}


async def run(effort: Effort) -> Result:
    """Pages of an almost empty store, then of a full one; a large evaluation; predictions."""
    with services.running(("coordinator", "collector", "node")) as fleet, _web(fleet) as url:
        store = Store(fleet.mongo_url, web_store.DATABASE)
        async with (
            Client(fleet.bus_url, user="benchmark") as client,
            aiohttp.ClientSession(url) as session,
        ):
            try:
                small = await _evaluated(client)
                look = Looking(session, effort.pages)
                rows, raw = await _pages(look, store, small, effort.stored)
                facts = (await client.stored(small))[1]
                large = await web_store.store_large(store, facts, effort.assembled_spans)
                await client.timeline_head(large, 60.0)  # assembled, as it is when one ends
                more, of_one = await _large(look, small, large, effort.assembled_spans)
            finally:
                await store.close()
            asked = web_predict.Asked(client, session, MODEL, SAMPLE)
            last, times = await web_predict.compared(asked, effort)
    return Result([*rows, *more, *last], {**raw, **of_one, **times})


async def _evaluated(client: Client) -> str:
    """A real evaluation, traced; its id once all of it is stored."""
    evaluation = await client.evaluate(
        MODEL, inputs=[SAMPLE], framework=FRAMEWORK, runs=200, trace="framework", threads=1
    )
    await evaluation.result()
    await client.timeline(evaluation.evaluation_id, 20.0)
    return evaluation.evaluation_id


@contextmanager
def _web(fleet: Fleet) -> Iterator[str]:
    """The web's own process, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mlmodelscope", "web", "--port", "0", "--bus", fleet.bus_url],
        stdout=subprocess.PIPE,
        env=services.environment(MLMS_HOME=str(fleet.folder), MLMS_WEB_CHANGES_A_MINUTE="1000000"),
    )
    assert process.stdout is not None
    with closing(process.stdout):
        try:
            yield process.stdout.readline().decode().split()[-1]
        finally:
            servers.stop(process)


async def _pages(
    look: Looking, store: Store, evaluation: str, count: int
) -> tuple[list[Row], dict[str, Any]]:
    """Pages before and after the history grows."""
    empty = {what: await look.timed_ms(path) for what, path in PAGES.items()}
    await web_store.fill_history(store, evaluation, count)
    full = {what: await look.timed_ms(path) for what, path in PAGES.items()}
    rows = [
        p95_row(f"{what}, {count:,} stored / 1", full[what], empty[what], PAGE_MS) for what in PAGES
    ]
    (oldest,) = await store.find("evaluations", {}, sort=[("at_ns", 1)], limit=1)
    last = await look.timed_ms(f"/history?before_ns={oldest['at_ns'] + 30 * MINUTE_NS}")
    first = full["the history's first page"]
    rows.append(p95_row(f"the history's last page of {count:,} / its first", last, first, PAGE_MS))
    return rows, {"full_ms": full, "empty_ms": empty, "last_ms": last}


async def _large(
    look: Looking, small: str, large: str, count: int
) -> tuple[list[Row], dict[str, Any]]:
    """The page of an evaluation with very many spans, and its timeline as files."""
    layers = OF_ONE["what it fetches, the layers"]
    first = [(await look.streamed_ms(layers.format(name)))[1] for name in (large, small)]
    rows = [p95_row(f"the layers of {count:,} spans for the first time", first[:1], first[1:])]
    raw: dict[str, list[Times]] = {"layers first": [first]}
    few = Looking(look.session, max(2, look.times // 10))
    for what, path in OF_ONE.items():
        ours, theirs = [await few.timed_ms(path.format(name)) for name in (large, small)]
        raw[what] = [ours, theirs]
        rows.append(p95_row(f"{what} of {count:,} spans / of few", ours, theirs, LARGE_MS))
    for form in ("chrome", "perfetto"):
        path = f"/api/v1/evaluations/{large}/timeline?format={form}"
        first_ms, last_ms, size = await look.streamed_ms(path)
        print(f"web: {form}: {size:,} bytes, {first_ms:.0f}, {last_ms:.0f} ms", file=sys.stderr)
        raw[form] = [[first_ms], [last_ms]]
        rows.append(
            p95_row(f"its timeline as {form}, first byte / last", [first_ms], [last_ms], LARGE_MS)
        )
    return rows, {"of_one_ms": raw}
