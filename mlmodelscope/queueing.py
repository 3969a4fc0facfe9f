"""The commands that answer before anything runs: which nodes fit, what waits, what is held."""

from __future__ import annotations

import time
from typing import Any

from bus.messages import Fitting, Misfit, Wanted
from bus.sizes import size_text
from mlmodelscope.client import Client
from mlmodelscope.exits import NOTHING_FITS, OK
from mlmodelscope.tables import Column, ago, console, misfits_table, print_csv, print_json, table


async def fitting(client: Client, asked: tuple[str, str, str], output: str) -> int:
    """Which nodes fit, the first choice first, and why the others do not."""
    requires, model, prefer = asked
    # Without a model there is no framework to choose a device for.
    wanted: Any = {"requires": [requires] if requires else [], "prefer": prefer}
    async with client:
        found = await client.fits(model, Wanted(device="cpu" if model else "", **wanted))
    if output == "json":
        print_json(found)
    elif output == "csv":
        print_csv(_rows(found))
    else:
        _show(found)
    return OK if found.nodes else NOTHING_FITS


def _rows(found: Fitting) -> list[dict[str, Any]]:
    fit = [
        {"node": node, "fits": True, "constraint": "", "wanted": "", "has": ""}
        for node in found.nodes
    ]
    return fit + [
        {
            "node": node,
            "fits": False,
            "constraint": failure.constraint,
            "wanted": failure.wanted,
            "has": failure.has,
        }
        for misfit in found.misfits
        for node in misfit.nodes
        for failure in misfit.failures
    ]


def _show(found: Fitting) -> None:
    out = console()
    others = sum(misfit.count for misfit in found.misfits)
    out.print(f"{len(found.nodes)} of {len(found.nodes) + others} nodes fit")
    if found.nodes:
        columns = [Column("node")]
        rows: list[dict[str, Any]] = [{"node": node} for node in found.nodes]
        if found.places:
            columns += [Column("frameworks", show=", ".join)]
            rows = [{"node": node, "frameworks": _builds(found, node)} for node in found.nodes]
        out.print(table(rows, columns))
    if found.misfits:
        out.print(misfits_table(_first(found.misfits)))


def _builds(found: Fitting, node: str) -> list[str]:
    return [
        f"{place.framework} {place.framework_version}"
        + ("" if place.environment == "default" else f" ({place.environment})")
        for place in found.places
        if place.node_id == node
    ]


def _first(misfits: list[Misfit], most: int = 20) -> list[Misfit]:
    return misfits[:most]


async def queue(client: Client, evaluation: str, mine: bool, output: str) -> int:
    """What runs and what waits."""
    async with client:
        found = await client.queue(evaluation, mine=mine)
    rows = [
        {
            "node": job.node_id,
            "position": job.position,
            "of": job.of,
            "model": job.model,
            "user": job.user,
            "priority": job.priority,
            "held": job.held,
            "submitted_ns": job.submitted_ns,
            "evaluation": job.evaluation_id,
            "job": job.job_id,
        }
        for job in found.jobs
    ]
    if output == "json":
        print_json(rows)
    elif output == "csv":
        print_csv(rows)
    elif rows:
        columns = [
            Column("node"),
            Column("place", "position", lambda place: str(place) if place else "runs", right=True),
            Column("model"),
            Column("user"),
            Column("priority", show=lambda given: str(given or ""), right=True, optional=True),
            Column("asked", "submitted_ns", lambda at_ns: ago(at_ns, time.time_ns())),
            Column("evaluation", show=lambda evaluation_id: evaluation_id[:8]),
        ]
        console().print(table(rows, columns))
        if found.total > len(rows):
            console().print(f"and {found.total - len(rows)} more")
    else:
        what = f"no job of an evaluation {evaluation!r} runs or waits (its whole id is expected)"
        console().print(what if evaluation else "nothing runs and nothing waits")
    return OK


async def usage(client: Client, output: str) -> int:
    """What one's stored evaluations take, of how much."""
    async with client:
        found = await client.usage()
    if output == "json":
        print_json(found)
        return OK
    rows = [
        {"evaluation": one.evaluation_id, "bytes": one.bytes, "spans": one.spans}
        for one in found.largest
    ]
    if output == "csv":
        print_csv(rows)
        return OK
    out = console()
    held, spans = size_text(found.bytes), f"{found.spans:,} spans"
    most = f" of {size_text(found.most_bytes)}" if found.most_bytes else ""
    most_spans = f" of {found.most_spans:,}" if found.most_spans else ""
    out.print(f"{found.user}'s evaluations take {held}{most}, {spans}{most_spans}")
    if rows:
        columns = [
            Column("evaluation", show=lambda evaluation_id: evaluation_id[:8]),
            Column("takes", "bytes", size_text, right=True),
            Column("spans", show=lambda count: f"{count:,}", right=True),
        ]
        out.print(table(rows, columns))
        out.print("the largest; mlmodelscope delete ID makes room")
    return OK
