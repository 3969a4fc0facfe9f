"""The command trends: a model's median times over its history, a row a series."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from analysis.trends import Trend, trends
from mlmodelscope.client import Client
from mlmodelscope.past import Past, page_of
from mlmodelscope.tables import Column, ago, console, ms, print_csv, print_json, print_rows

NEWEST = 500
"""Evaluations that are looked at."""


async def show(client: Client, past: Past, output: str) -> int:
    """Each series with its first and last time, and its changes below."""
    async with client:
        page = await page_of(client, past, 0, NEWEST)
    found = trends(page.rows)
    if output == "json":
        print_json(found)
        return 0
    rows = [_row(trend) for trend in found]
    if output == "csv":
        print_csv(rows)
        return 0
    columns = [Column(name) for name in ("framework", "node")]
    columns += [Column("dataset", optional=True), Column("batch", "batch_size", right=True)]
    columns += [Column("runs", right=True), Column("first p50 ms", "first_ns", ms, right=True)]
    columns += [Column("last p50 ms", "last_ns", ms, right=True), Column("changes", right=True)]
    print_rows(output, rows, columns, empty=f"no finished evaluation of {past.model} yet")
    for trend in found:
        for line in in_words(trend):
            console().print(line, markup=False)
    return 0


def in_words(trend: Trend) -> list[str]:
    """Each change of a series, the newest first."""
    where = f"{trend.framework} on {trend.node_id}, batch {trend.batch_size}"
    return [
        f"{where}: ×{change.ratio:.3f} since {change.evaluation_id[:8]} "
        f"({ago(change.at_ns, time.time_ns())})"
        + (f", with {', '.join(change.differs)}" if change.differs else "")
        for change in reversed(trend.changes)
    ]


def _row(trend: Trend) -> dict[str, Any]:
    plain = msgspec.to_builtins(trend)
    return {
        **{name: plain[name] for name in ("model", "framework", "dataset", "batch_size")},
        "node": trend.node_id,
        "runs": len(trend.points),
        "first_ns": trend.points[0].median_ns,
        "last_ns": trend.points[-1].median_ns,
        "changes": len(trend.changes),
        "changed_at": [change.evaluation_id for change in trend.changes],
    }
