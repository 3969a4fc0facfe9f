"""Each analysis as a plotly figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from analysis.answers import Answer
from mlmodelscope.plots_roofline import roofline

MOST_BARS = 20
MOST_TYPES = 9
LONGEST = 44
OTHERS = "others"
COLORS = qualitative.Safe
WIDTH, HEIGHT = 1000, 600


def figure(answer: Answer) -> go.Figure:
    """The plot of one analysis; where nothing can be drawn, the reason instead."""
    rows = answer.table()
    made = DRAW[answer.analysis](answer, rows)
    made.update_layout(
        title={"text": f"{answer.analysis} · {answer.title}<br><sub>{_subtitle(answer)}</sub>"},
        template="plotly_white",
        width=WIDTH,
        height=max(HEIGHT, made.layout.height or 0),
        margin={"l": 80, "r": 40, "t": 90, "b": 70},
        legend={"font": {"size": 11}},
    )
    return made


def drawing_code() -> str:
    """The JavaScript that draws figures, for files that hold several."""
    code: str = get_plotlyjs()
    return code


def _subtitle(answer: Answer) -> str:
    told = [f"{roof.source}: " for roof in answer.roofs]  # the legend of a roofline says these
    kept = [note for note in answer.notes if not any(map(note.startswith, told))]
    return _short(" · ".join(kept), 150)


def _short(text: str, most: int = LONGEST) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def nothing(why: str) -> go.Figure:
    """A plot that cannot be: its reason in words."""
    made = go.Figure()
    made.add_annotation(
        text=f"n/a: {_short(why, 120)}", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False
    )
    made.update_xaxes(visible=False)
    made.update_yaxes(visible=False)
    return made


def _why(rows: Sequence[dict[str, Any]], field: str) -> str:
    return next((row["na"][field] for row in rows if field in row["na"]), "nothing was measured")


# ------------------------------------------------------------------ the model


def _model(answer: Answer, rows: list[dict[str, Any]]) -> go.Figure:
    """Latency and throughput over batch sizes."""
    if rows[0]["throughput"] is None:
        made = go.Figure(go.Bar(x=["a predict"], y=[row["latency_ns"] / 1e6 for row in rows]))
        return made.update_yaxes(title="latency (ms)", rangemode="tozero")
    made = make_subplots(rows=1, cols=2, horizontal_spacing=0.12)
    sizes = [row["batch_size"] for row in rows]
    made.add_trace(
        go.Scatter(
            x=sizes, y=[row["latency_ns"] / 1e6 for row in rows], mode="lines+markers",
            name="latency of a predict", line={"color": COLORS[1]},
        ), 1, 1,
    )  # fmt: skip
    made.add_trace(_throughput(rows, sizes), 1, 2)
    best = [row for row in rows if row["optimal"]]
    made.add_trace(
        go.Scatter(
            x=[row["batch_size"] for row in best], y=[row["throughput"] for row in best],
            mode="markers", name="batch to use",
            marker={"size": 16, "symbol": "circle-open", "line": {"width": 3}, "color": COLORS[0]},
        ), 1, 2,
    )  # fmt: skip
    kind = "log" if len(sizes) > 2 else "linear"
    made.update_xaxes(title="batch size", type=kind, tickvals=sizes)
    made.update_yaxes(title="latency (ms)", rangemode="tozero", col=1)
    made.update_yaxes(title="inputs per second", rangemode="tozero", col=2)
    return made.update_layout(legend={"orientation": "h", "y": -0.15})


def _throughput(rows: list[dict[str, Any]], sizes: list[int]) -> go.Scatter:
    values = [row["throughput"] for row in rows]
    up = [(row["throughput_high"] or row["throughput"]) - row["throughput"] for row in rows]
    down = [row["throughput"] - (row["throughput_low"] or row["throughput"]) for row in rows]
    return go.Scatter(
        x=sizes,
        y=values,
        mode="lines+markers",
        name="throughput, 95 % interval",
        line={"color": COLORS[2]},
        error_y={"type": "data", "array": up, "arrayminus": down, "symmetric": False},
    )


# ------------------------------------------------------------------ in order of execution


def _in_order(value: str, unit: str, scale: float, axis: str) -> Callable[..., go.Figure]:
    """Bars along the layers' indexes, coloured by type."""

    def draw(answer: Answer, rows: list[dict[str, Any]]) -> go.Figure:
        known = [row for row in rows if row[value] is not None]
        if not known:
            return nothing(_why(rows, value))
        made = go.Figure()
        for color, (kind, members) in enumerate(_types(known, value)):
            made.add_bar(
                x=[row["index"] for row in members],
                y=[row[value] / scale for row in members],
                name=_short(kind, 28),
                hovertext=[f"{row['name']} ({row['operator']})" for row in members],
                marker={"color": COLORS[color % len(COLORS)], "line": {"width": 0}},
            )
        made.update_layout(barmode="stack", bargap=0.1)
        made.update_xaxes(title="layer, in order of execution")
        return made.update_yaxes(title=f"{axis} ({unit})")

    return draw


def _types(rows: list[dict[str, Any]], value: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows by operator, what weighs most first; rare ones together."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["operator"], []).append(row)
    ordered = sorted(found.items(), key=lambda item: -sum(row[value] for row in item[1]))
    rest = [row for _, members in ordered[MOST_TYPES:] for row in members]
    return ordered[:MOST_TYPES] + ([(OTHERS, rest)] if rest else [])


# ------------------------------------------------------------------ the largest first


def _largest(
    name: str, value: str, scale: float, axis: str, text: str = ""
) -> Callable[..., go.Figure]:
    """Horizontal bars of what is largest, the rest together."""

    def draw(answer: Answer, rows: list[dict[str, Any]]) -> go.Figure:
        known = [row for row in rows if row[value] is not None]
        if not known:
            return nothing(_why(rows, value))
        known.sort(key=lambda row: -row[value])
        shown, rest = known[:MOST_BARS], known[MOST_BARS:]
        labels = _apart([_label(row, name) for row in shown])
        values = [row[value] / scale for row in shown]
        words = [f"{row[text]:g} %" if text and row[text] is not None else "" for row in shown]
        if rest:
            labels.append(f"{len(rest)} others")
            values.append(sum(row[value] for row in rest) / scale)
            words.append("")
        whole = [str(row[name]) for row in shown] + [""] * bool(rest)
        colors = [COLORS[1]] * len(shown) + ["#bbbbbb"] * bool(rest)
        made = go.Figure(
            go.Bar(
                x=values[::-1], y=labels[::-1], text=words[::-1], orientation="h",
                hovertext=whole[::-1], textposition="outside", cliponaxis=False,
                marker={"color": colors[::-1]},
            )
        )  # fmt: skip
        made.update_layout(height=200 + 22 * len(labels))
        made.update_yaxes(automargin=True, tickfont={"size": 11}, type="category")
        return made.update_xaxes(title=axis)

    return draw


def _label(row: dict[str, Any], name: str) -> str:
    """What a bar is called: with its place where a name alone would not tell it apart."""
    index = row.get("index", row.get("layer")) if name in ("name", "layer_name") else None
    text = _short(str(row[name]))
    return text if index is None or index < 0 else f"{index} · {text}"


def _apart(labels: list[str]) -> list[str]:
    """Equal labels would be one bar: later ones are numbered."""
    seen: dict[str, int] = {}
    made = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        made.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return made


# ------------------------------------------------------------------ layers and their kernels


def _metrics(answer: Answer, rows: list[dict[str, Any]]) -> go.Figure:
    """A strip each for FLOPs, reads, writes and occupancy, along the layers."""
    panels = (
        ("flops", "GFLOPs", 1e9),
        ("read_bytes", "DRAM reads (MB)", 1e6),
        ("write_bytes", "DRAM writes (MB)", 1e6),
        ("occupancy_percent", "occupancy (%)", 1.0),
    )
    made = make_subplots(rows=4, cols=1, shared_xaxes=True, vertical_spacing=0.05)
    for number, (field, title, scale) in enumerate(panels, 1):
        known = [row for row in rows if row[field] is not None]
        made.add_bar(
            x=[row["layer"] for row in known],
            y=[row[field] / scale for row in known],
            hovertext=[row["layer_name"] for row in known],
            marker={"color": COLORS[number]},
            showlegend=False,
            row=number,
            col=1,
        )
        if not known:
            made.add_annotation(
                text=f"n/a: {_short(_why(rows, field), 100)}", x=0.5, y=0.5, showarrow=False,
                xref="x domain" if number == 1 else f"x{number} domain",
                yref="y domain" if number == 1 else f"y{number} domain",
            )  # fmt: skip
        about = {"title": title, "title_font": {"size": 11}, "showticklabels": bool(known)}
        made.update_yaxes(**about, row=number, col=1)
    made.update_xaxes(title="layer, in order of execution", row=4, col=1)
    return made.update_layout(height=820)


def _split(answer: Answer, rows: list[dict[str, Any]]) -> go.Figure:
    """Kernels and the rest, one above the other, along the layers."""
    on_device = any(row["gpu_ns"] is not None for row in rows)
    if all(row["kernels_ns"] is None for row in rows):
        return nothing(_why(rows, "kernels_ns"))
    parts = (
        ("kernels_ns", "kernels on the GPU" if on_device else "library calls", COLORS[1]),
        ("outside_ns", "outside of them (CPU)" if on_device else "the framework", COLORS[7]),
    )
    made = go.Figure()
    for field, name, color in parts:
        known = [row for row in rows if row[field] is not None]
        made.add_bar(
            x=[row["layer"] for row in known],
            y=[row[field] / 1e6 for row in known],
            hovertext=[row["layer_name"] for row in known],
            name=name,
            marker={"color": color},
        )
    made.update_layout(barmode="relative", bargap=0.1)
    made.update_xaxes(title="layer, in order of execution")
    return made.update_yaxes(title="latency (ms)")


def _least(answer: Answer, rows: list[dict[str, Any]]) -> go.Figure:
    """The least time that the roof allows beside what each layer took."""
    layers = [row for row in rows if row["layer"] >= 0]
    known = [row for row in layers if row["least_ns"] is not None]
    if not known:
        return nothing(_why(rows, "least_ns"))
    made = go.Figure()
    for field, name, color in (
        ("latency_ns", "measured", COLORS[7]),
        ("least_ns", "least under the roof", COLORS[1]),
    ):
        made.add_bar(
            x=[row["layer"] for row in layers if row[field] is not None],
            y=[row[field] / 1e6 for row in layers if row[field] is not None],
            hovertext=[row["layer_name"] for row in layers if row[field] is not None],
            name=name,
            marker={"color": color},
        )
    made.update_layout(barmode="overlay", bargap=0.1)
    made.update_xaxes(title="layer, in order of execution")
    return made.update_yaxes(title="latency (ms)")


def _kernels_in_order(answer: Answer, rows: list[dict[str, Any]]) -> go.Figure:
    field = "latency_ns" if any(row["latency_ns"] is not None for row in rows) else "flops"
    known = [row for row in rows if row[field] is not None]
    if not known:
        return nothing(_why(rows, field))
    scale, axis = (1e6, "latency of its kernels (ms)") if field == "latency_ns" else (1e9, "GFLOPs")
    made = go.Figure(
        go.Bar(
            x=[row["layer"] if row["layer"] >= 0 else row["layer_name"] for row in known],
            y=[row[field] / scale for row in known],
            hovertext=[f"{row['layer_name']}: {row['count']} kernels" for row in known],
            marker={"color": COLORS[1]},
        )
    )
    made.update_xaxes(title="layer, in order of execution")
    return made.update_yaxes(title=axis)


def _kernels(answer: Answer, rows: list[dict[str, Any]]) -> go.Figure:
    """By time, or, where counting hid the times, by FLOPs."""
    if any(row["latency_ns"] is not None for row in rows):
        return _largest("name", "latency_ns", 1e6, "latency (ms)")(answer, rows)
    return _largest("name", "flops", 1e9, "GFLOPs (no times were measured)")(answer, rows)


def _roofline(answer: Answer, rows: list[dict[str, Any]]) -> go.Figure:
    drawable = [row for row in rows if row["intensity"] and row["gflops"]]
    if not drawable:
        missing = "intensity" if any(row["gflops"] for row in rows) else "gflops"
        return nothing(_why(rows, missing) if rows else "there are no rows")
    return roofline(answer, drawable)


Draw = Callable[[Answer, list[dict[str, Any]]], go.Figure]
DRAW: dict[str, Draw] = {
    "A1": _model,
    "A2": _largest("name", "latency_ns", 1e6, "latency (ms), largest first", "latency_percent"),
    "A3": _in_order("latency_ns", "ms", 1e6, "latency"),
    "A4": _in_order("allocated_bytes", "MB", 1e6, "allocated"),
    "A5": _largest("operator", "count", 1, "layers", "percent"),
    "A6": _largest("operator", "latency_ns", 1e6, "latency of a type's layers (ms)", "percent"),
    "A7": _largest("operator", "allocated_bytes", 1e6, "allocated (MB)", "percent"),
    "A8": _kernels,
    "A9": _roofline,
    "A10": _kernels,
    "A11": _kernels_in_order,
    "A12": _metrics,
    "A13": _split,
    "A14": _roofline,
    "A15": _roofline,
    "theoretical": _least,
}  # fmt: skip
