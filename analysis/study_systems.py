"""A study's record of itself: the systems it ran on, and what became of each of its cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from analysis.answers import Answer, Row
from analysis.study import OfPlace, Place, about, figure
from bus.messages import Conditions, NodeAnnounced

BUSY = 1.5
"""A load of more than so many a core is not the study's own alone."""
NOT_TOLD = "its node told nothing of it"


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one cell. part: sweep, trace or dataset; missing: facts and spans that should
    be there and are not; problem: why it has no figures."""

    place: Place
    part: str
    batch_size: int
    evaluation_id: str = ""
    missing: Sequence[str] = ()
    problem: str = ""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A node as its first cell's record describes it, what it was doing when it was busiest with
    one about to begin, and its labels now."""

    node: NodeAnnounced
    conditions: Conditions | None = None
    labels: Mapping[str, str] = {}


class System(Row, frozen=True, kw_only=True):
    """One node. load: the highest when a cell began, of one minute and all cores."""

    node: str
    processor: str
    cores: int
    memory_bytes: int
    operating_system: str
    kernel: str
    devices: str
    frameworks: str
    governor: str | None
    load: float | None
    labels: str
    cells: int


def systems(seen: Sequence[Seen], ran: Sequence[Ran]) -> Answer:
    """The machines, what was measured with, and how they were set."""
    rows = []
    for one in sorted(seen, key=lambda one: one.node.node_id):
        node, told = one.node, one.conditions
        here = [cell for cell in ran if cell.place.node == node.node_id and not cell.problem]
        na = {}
        if told is None or not told.governor:
            na["governor"] = told.unavailable.get("governor", NOT_TOLD) if told else NOT_TOLD
        if told is None or told.load_1m < 0:
            na["load"] = told.unavailable.get("load", NOT_TOLD) if told else NOT_TOLD
        rows.append(
            System(
                analysis="systems",
                na=na,
                node=node.node_id,
                processor=node.cpu or node.arch,
                cores=node.cores,
                memory_bytes=node.memory_bytes,
                operating_system=f"{node.system} {node.distribution}".strip(),
                kernel=node.kernel,
                devices=", ".join(d.name for d in node.devices if d.kind != "cpu"),
                frameworks=", ".join(sorted({cell.place.framework for cell in here})),
                governor=told.governor if told and told.governor else None,
                load=told.load_1m if told and told.load_1m >= 0 else None,
                labels=", ".join(f"{name}={value}" for name, value in sorted(one.labels.items())),
                cells=len(here),
            )
        )
    busy = [row for row in rows if row.load is not None and row.load > BUSY * row.cores > 0]
    notes = [
        f"{row.node}: measured beside other work: load {row.load:.1f} on {row.cores} cores; "
        "its figures are worth less for it"
        for row in busy
    ]
    return figure("systems", "Systems", rows, notes)


class CellRow(OfPlace, frozen=True, kw_only=True):
    """One cell. state: measured, incomplete or failed."""

    batch_size: int
    part: str
    state: str
    problem: str
    evaluation: str


def cells(ran: Sequence[Ran]) -> Answer:
    """Every cell with its evaluation, and why it has none; what went wrong comes first."""
    rows = [
        CellRow(
            **about(cell.place),
            analysis="cells",
            batch_size=cell.batch_size,
            part=cell.part,
            state="failed" if cell.problem else "incomplete" if cell.missing else "measured",
            problem=cell.problem or "; ".join(cell.missing),
            evaluation=cell.evaluation_id,
        )
        for cell in ran
    ]
    order = ("failed", "incomplete", "measured")
    rows.sort(key=lambda row: order.index(row.state))
    counts = Counter(row.state for row in rows)
    notes = [f"{len(rows)} cells: " + ", ".join(f"{counts[s]} {s}" for s in order if counts[s])]
    return figure("cells", "Cells and completeness", rows, notes)
