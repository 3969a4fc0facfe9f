"""What a model's author claims, beside what was measured: compared where both mean the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from analysis.latency import LatencyRow
from bus.claims import FRACTIONS, TIMES, plain_metric
from bus.messages import Claim


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One measured figure: a part of 1, or nanoseconds (latency), or inputs a second.

    on, version: the dataset of an accuracy. batch_size: of a latency or throughput.
    """

    metric: str
    value: float
    on: str = ""
    version: str = ""
    batch_size: int = 0


class ClaimRow(msgspec.Struct, frozen=True, kw_only=True):
    """A claim, and what was measured of the same metric, both in the claim's unit.

    ratio: measured / claimed; None where the two are not the same thing, and why says so.
    """

    metric: str
    claimed: float
    unit: str = ""
    on: str = ""
    batch_size: int = 0
    source: str = ""
    measured: float | None = None
    measured_on: str = ""
    measured_batch_size: int = 0
    ratio: float | None = None
    why: str = ""


def measured_times(rows: Sequence[LatencyRow]) -> list[Measured]:
    """The latency (p50) and the throughput of each batch size that was measured."""
    figures = []
    for row in rows:
        size = row.batch_size
        if row.p50_ns is not None:
            figures.append(Measured(metric="latency", value=row.p50_ns, batch_size=size))
        if row.throughput is not None:
            figures.append(Measured(metric="throughput", value=row.throughput, batch_size=size))
    return figures


def claims_against(claims: Sequence[Claim], measured: Sequence[Measured]) -> list[ClaimRow]:
    """Each claim beside the measured figure that is most like it.

    A ratio is only given where the batch size (of times) or the dataset (of accuracies) is the
    same: others are shown side by side, and why they are not compared is said.
    """
    return [_row(claim, measured) for claim in claims]


def _row(claim: Claim, measured: Sequence[Measured]) -> ClaimRow:
    metric = plain_metric(claim.metric)
    alike = [figure for figure in measured if plain_metric(figure.metric) == metric]
    row = ClaimRow(
        metric=claim.metric,
        claimed=claim.value,
        unit=claim.unit,
        on=claim.on,
        batch_size=claim.batch_size,
        source=claim.source,
    )
    if not alike:
        return msgspec.structs.replace(row, why="not measured here")
    figure = min(alike, key=lambda found: bool(_why_not(claim, found)))
    value = figure.value / _unit(metric, claim.unit)
    why = _why_not(claim, figure)
    return msgspec.structs.replace(
        row,
        measured=value,
        measured_on=figure.on,
        measured_batch_size=figure.batch_size,
        ratio=value / claim.value if claim.value and not why else None,
        why=why,
    )


def _unit(metric: str, unit: str) -> float:
    """How much of the measured figure's unit one of the claim's is."""
    if metric == "latency":
        return TIMES.get(unit, 1.0)
    return 0.01 if metric in FRACTIONS and unit == "%" else 1.0


def _why_not(claim: Claim, figure: Measured) -> str:
    """Why a claim and a figure are not the same thing, or nothing."""
    if figure.batch_size:
        if not claim.batch_size:
            return f"the claim names no batch size, measured at batch {figure.batch_size}"
        if claim.batch_size != figure.batch_size:
            return f"claimed at batch {claim.batch_size}, measured at batch {figure.batch_size}"
        return ""
    if not claim.on:
        return f"the claim names no dataset, measured on {figure.on or 'one without a name'}"
    if _plain(claim.on) not in (_plain(figure.on), _plain(f"{figure.on} {figure.version}")):
        return f"claimed on {claim.on}, measured on {figure.on or 'one without a name'}"
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
