"""A roofline: what the machine allows at each intensity, and where layers or kernels are."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

from analysis.answers import Answer
from analysis.roofline import Roof

BOUND_COLORS = {"memory": "#CC6677", "compute": "#332288", None: "#888888"}
LARGEST, SMALLEST = 30, 6
NAMED = 8


def roofline(answer: Answer, rows: list[dict[str, Any]]) -> go.Figure:
    """Rows with an intensity and a rate as points, larger where they take longer."""
    made = go.Figure()
    intensities = [row["intensity"] for row in rows]
    low = min(intensities) / 4
    high = max([*intensities, *(roof.ideal_intensity for roof in answer.roofs)]) * 4
    for roof in answer.roofs:
        made.add_trace(_line(roof, low, high))
    longest = max(row["latency_ns"] for row in rows) or 1.0
    for bound in ("memory", "compute", None):
        members = [row for row in rows if row["bound"] == bound]
        if members:
            made.add_trace(_points(members, bound, longest))
    named = sorted(rows, key=lambda row: -row["latency_ns"])[:NAMED]
    for row in named:
        made.add_annotation(
            x=math.log10(row["intensity"]), y=math.log10(row["gflops"]), text=_label(row),
            showarrow=False, yshift=16, font={"size": 10, "color": "#444"},
        )  # fmt: skip
    few = {"type": "log", "dtick": "D2"}
    of_layers = " (numbers are layers)" if any(_label(row).isdigit() for row in named) else ""
    made.update_xaxes(title=f"arithmetic intensity (FLOP/B){of_layers}", **few)
    made.update_yaxes(title="GFLOP/s", **few)
    return made.update_layout(legend={"orientation": "h", "y": -0.15})


def _line(roof: Roof, low: float, high: float) -> go.Scatter:
    ridge = roof.ideal_intensity
    at = [low, ridge, high]
    return go.Scatter(
        x=at,
        y=[roof.attainable(each) for each in at],
        mode="lines",
        name=f"{roof.source}: {roof.peak_gflops:,.0f} GFLOP/s, {roof.bandwidth_gb_per_s:,.1f} GB/s",
        line={"color": "#000", "dash": "solid" if roof.source == "measured" else "dash"},
    )


def _points(rows: list[dict[str, Any]], bound: str | None, longest: float) -> go.Scatter:
    sizes = [SMALLEST + (LARGEST - SMALLEST) * math.sqrt(r["latency_ns"] / longest) for r in rows]
    return go.Scatter(
        x=[row["intensity"] for row in rows],
        y=[row["gflops"] for row in rows],
        mode="markers",
        name=f"{bound}-bound" if bound else "not judged",
        hovertext=[f"{_name(row)}: {row['latency_ns'] / 1e6:.4g} ms" for row in rows],
        marker={"size": sizes, "color": BOUND_COLORS[bound], "opacity": 0.6},
    )


def _name(row: dict[str, Any]) -> str:
    if "batch_size" in row:
        return f"batch {row['batch_size']}" if row["batch_size"] else "the model"
    text = str(row.get("name") or row["layer_name"])
    return text if len(text) <= 32 else f"{text[:31]}…"


def _label(row: dict[str, Any]) -> str:
    """What stands beside a point: a layer's number, where a name would cover others."""
    return str(row["layer"]) if row.get("layer", -1) >= 0 else _name(row)
