"""Evaluations side by side as figures: latency and throughput over batch sizes, layers in pairs."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.latency import LatencyRow
from analysis.layer_matching import LayerPair
from mlmodelscope.plots import COLORS, WIDTH

MOST_LAYERS = 40
HEIGHT = 460
TEMPLATE = {"template": "plotly_white", "width": WIDTH}


def over_batches(sides: Sequence[tuple[str, Sequence[LatencyRow]]]) -> go.Figure:
    """Latency (on a logarithmic axis) and throughput of each evaluation."""
    made = make_subplots(rows=1, cols=2, horizontal_spacing=0.11)
    sizes = sorted({row.batch_size for _, rows in sides for row in rows})
    for number, (name, rows) in enumerate(sides):
        known = [row for row in rows if row.p50_ns is not None and row.batch_size]
        look = {
            "mode": "lines+markers",
            "name": name,
            "legendgroup": name,
            "line": {"color": COLORS[number % len(COLORS)]},
        }
        at = [row.batch_size for row in known]
        p50 = [(row.p50_ns or 0) / 1e6 for row in known]
        made.add_trace(go.Scatter(x=at, y=p50, error_y=_reach(known), **look), 1, 1)
        rates = [row.throughput for row in known]
        made.add_trace(go.Scatter(x=at, y=rates, showlegend=False, **look), 1, 2)
    made.update_xaxes(title="batch size", type="log", tickvals=sizes)
    times = [(row.p50_ns or 0) / 1e6 for _, rows in sides for row in rows if row.p50_ns]
    log = {"type": "log", "tickvals": _ticks(times)}
    made.update_yaxes(title="latency of a predict, p50 (ms)", col=1, **log)
    made.update_yaxes(title="inputs per second", rangemode="tozero", col=2)
    legend = {"orientation": "h", "y": -0.18}
    margin = {"l": 70, "r": 30, "t": 30, "b": 60}
    return made.update_layout(height=HEIGHT, legend=legend, margin=margin, **TEMPLATE)


def _ticks(values: Sequence[float]) -> list[float]:
    """1, 2, 5, 10, 20 … as far as the values reach."""
    low, high = min(values, default=1.0), max(values, default=1.0)
    every = (digit * 10.0**power for power in range(-6, 9) for digit in (1, 2, 5))
    return [tick for tick in every if low / 2.5 <= tick <= high * 2.5]


def _reach(rows: Sequence[LatencyRow]) -> dict[str, object]:
    """The 95 % intervals of the medians."""
    up = [((row.median_high_ns or row.p50_ns or 0) - (row.p50_ns or 0)) / 1e6 for row in rows]
    down = [((row.p50_ns or 0) - (row.median_low_ns or row.p50_ns or 0)) / 1e6 for row in rows]
    return {"type": "data", "array": up, "arrayminus": down, "symmetric": False}


def layers_in_pairs(pairs: Sequence[LayerPair]) -> go.Figure:
    """A's layers upwards, B's beside them, in the order of the graph; the largest if many."""
    largest = sorted(pairs, key=lambda pair: -max(pair.a_ns, pair.b_ns))[:MOST_LAYERS]
    shown = [pair for pair in pairs if pair in largest]
    at = [_name(pair) for pair in shown]
    made = go.Figure()
    for name, values, color in (
        ("A", [pair.a_ns / 1e6 for pair in shown], COLORS[0]),
        ("B", [pair.b_ns / 1e6 for pair in shown], COLORS[1]),
    ):
        made.add_bar(x=list(range(len(at))), y=values, hovertext=at, name=name, marker_color=color)
    ticks = {"tickvals": list(range(len(at))), "ticktext": at, "tickangle": -60}
    made.update_xaxes(tickfont={"size": 9}, automargin=True, **ticks)
    made.update_yaxes(title="latency of a layer (ms)")
    margin = {"l": 70, "r": 30, "t": 30, "b": 60}
    return made.update_layout(height=HEIGHT + 60, barmode="group", margin=margin, **TEMPLATE)


def _name(pair: LayerPair) -> str:
    names = pair.a or pair.b
    text = names[0] if names else ""
    return text if len(text) <= 26 else f"…{text[-25:]}"
