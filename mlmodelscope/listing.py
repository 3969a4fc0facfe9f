"""The commands that list nodes and history; and the one that forgets."""

from __future__ import annotations

import time
from typing import Any

from bus.messages import FrameworkSeen, HistoryRow
from mlmodelscope.client import Client
from mlmodelscope.past import Past, page_of
from mlmodelscope.tables import Column, ago, gib, milliseconds, print_rows, shortened


async def datasets(client: Client, dataset: str, output: str) -> int:
    """The known datasets, one row a version."""
    async with client:
        known = await client.datasets(dataset)
    rows = [
        {
            "name": found.name,
            "version": found.version,
            "task": found.task,
            "format": found.format,
            "classes": len(found.labels),
            "items": found.select.count,
            "license": found.license,
            "description": found.description.strip(),
        }
        for found in known
    ]
    columns = [Column(name) for name in ("name", "version", "task", "format")]
    columns.append(Column("classes", show=_or_unknown, right=True))
    columns.append(Column("items", show=lambda count: str(count or "all"), right=True))
    print_rows(output, rows, [*columns, Column("license")])
    return 0


def _or_unknown(count: int) -> str:
    return str(count or "–")


async def nodes(client: Client, output: str) -> int:
    """The nodes that are alive."""
    async with client:
        seen = await client.nodes()
    rows = [
        {
            "node": s.node.node_id,
            "host": s.node.host,
            "arch": s.node.arch,
            "cpu": s.node.cpu,
            "cores": s.node.cores,
            "memory_bytes": s.node.memory_bytes,
            "devices": [device.kind for device in s.node.devices],
            "frameworks": [_framework(seen) for seen in s.node.frameworks],
            "allow_code": s.node.allow_code,
            "builds": s.node.builds,
            "builds_images": s.node.builds_images,
            "labels": s.node.labels,
            "cpu_features": s.node.cpu_features,
            "disk_bytes": s.node.disk_bytes,
            "interconnect": s.node.interconnect,
            "system": f"{s.node.system} {s.node.distribution}".strip(),
            "kernel": s.node.kernel,
            "containers": s.node.containers,
            "outstanding": s.outstanding,
            "clock_offset_ns": s.node.clock.offset_ns,
            "clock_error_ns": s.node.clock.error_ns,
            "unavailable": s.node.unavailable,
            "status_url": s.node.status_url,
        }
        for s in seen
    ]
    columns = [
        Column("node"),
        Column("arch"),
        Column("cpu"),
        Column("cores", right=True),
        Column("memory", "memory_bytes", gib, right=True),
        Column("devices", show=", ".join),
        Column("frameworks", show=", ".join),
        Column("jobs", "outstanding", right=True),
        Column("cannot measure", "unavailable", show=", ".join),
    ]
    print_rows(output, rows, columns, empty="no node is alive: start one with `mlmodelscope node`")
    return 0


def _framework(seen: FrameworkSeen) -> str:
    """A framework, and the environment where it lies, unless that is the node's own Python."""
    where = "" if seen.environment == "default" else f" ({seen.environment})"
    return f"{seen.name} {seen.version}{where}"


async def history(client: Client, past: Past, limit: int, output: str) -> int:
    """Past evaluations, newest first."""
    async with client:
        found = await _listed(client, past, max(1, limit))
    rows = [_history_row(row) for row in found]
    columns = [
        Column("id", "evaluation_id", lambda text: text[:8]),
        Column("when", "at_ns", lambda at_ns: ago(at_ns, time.time_ns())),
        Column("model"),
        Column("framework"),
        Column("node"),
        Column("state"),
        Column("batch sizes", "batch_sizes", _sizes, right=True),
        Column("p50 ms", "median_ns", milliseconds, right=True),
        Column("dataset", optional=True),
        Column("top-1", "top1", _percent, right=True, optional=True),
        Column("note", show=shortened, optional=True),
    ]
    print_rows(output, rows, columns, empty="no evaluation yet: mlmodelscope evaluate MODEL")
    return 0


async def _listed(client: Client, past: Past, limit: int) -> list[HistoryRow]:
    """As many as are asked for, page by page: the collector looks into no versions and runs."""
    found: list[HistoryRow] = []
    before_ns = 0
    while True:
        page = await page_of(client, past, before_ns, limit - len(found))
        found += page.rows
        before_ns = page.next_before_ns
        if len(found) >= limit or not before_ns:
            return found


async def delete(client: Client, evaluation: str) -> int:
    """Forget one evaluation."""
    async with client:
        evaluation_id, _, _ = await client.stored(evaluation)
        await client.delete(evaluation_id)
    print(f"forgotten: {evaluation_id}")
    return 0


def _weights(row: HistoryRow) -> str:
    """What must be said of a model whose weights were not trained."""
    measured = row.origin == "measured"
    return f"weights: {row.weights}" if measured and row.weights != "trained" else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def _sizes(sizes: list[int]) -> str:
    return ", ".join(str(size) if size else "unknown" for size in sizes)


def _history_row(row: HistoryRow) -> dict[str, Any]:
    shallow = [run for run in row.runs if run.level in ("none", "application", "model")]
    shallow = shallow or row.runs  # an imported recording has one run, at the depth it was made
    return {
        "evaluation_id": row.evaluation_id,
        "at_ns": row.at_ns,
        "user": row.user,
        "model": f"{row.model} {row.model_version}".strip(),
        "framework": f"{row.framework} {row.framework_version}".strip(),
        "node": row.node_id,
        "state": row.state,
        "origin": row.origin,
        "text": row.text or _weights(row),
        "weights": row.weights,
        "dataset": row.dataset,
        "top1": row.right / row.labelled if row.labelled else None,
        "note": row.text or (row.origin if row.origin != "measured" else _weights(row)),
        "batch_sizes": [run.batch_size for run in shallow],
        "median_ns": [run.median_ns for run in shallow],
    }
