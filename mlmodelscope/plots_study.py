"""A study's figures as plotly figures: one for all models, or one a model; as wide as a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from analysis.answers import Answer
from analysis.study_layers import OUTSIDE, UNTOLD
from mlmodelscope.plots import COLORS

Row = dict[str, Any]
Drawn = list[tuple[str, go.Figure]]
Draw = Callable[[Answer, Sequence[Row]], Drawn]
HEIGHT = 380
BAR = 26
PLACE = ("framework", "setting", "node")
FEW_TICKS = 3
MOST_SEAMS = 120
"""More layers than this are drawn without lines between them: nothing else would be seen."""
GREYS = {UNTOLD: "#9aa5ad", OUTSIDE: "#c3cad0"}
SHAPES = ("circle", "diamond", "square", "triangle-up", "cross")
PARTS = {"model": "star", "layer": "circle", "kernel": "diamond"}


def figures(answer: Answer) -> Drawn:
    """The plots of one figure with their titles; none where there is nothing to draw."""
    draw = DRAW.get(answer.name)
    rows = answer.table()
    made = draw(answer, rows) if draw is not None and rows else []
    for _, one in made:
        one.update_layout(
            autosize=True,
            height=one.layout.height or HEIGHT,
            margin={"l": 10, "r": 20, "t": 10, "b": 10},
            legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0},
            hovermode="closest",
            uniformtext={"mode": "hide", "minsize": 9},
        )
        one.update_xaxes(automargin=True, title_standoff=8)
        one.update_yaxes(automargin=True, title_standoff=8)
    return [(title, one) for title, one in made if one.data]


def curve_of(row: Row, rows: Iterable[Row], names: Sequence[str] = PLACE) -> str:
    """What tells a row's curve from the others: only what differs among them."""
    every = list(rows)
    telling = [name for name in names if len({other[name] for other in every}) > 1]
    return " · ".join(filter(None, (row[name] for name in telling))) or str(row["framework"])


def _curves(rows: Sequence[Row], among: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(curve_of(row, among), []).append(row)
    return found


def _colors(names: Iterable[str]) -> dict[str, str]:
    """The same colour for the same name on every plot of a figure."""
    return {name: COLORS[at % len(COLORS)] for at, name in enumerate(sorted(set(names)))}


def _shapes(names: Iterable[str]) -> dict[str, str]:
    """A shape a framework, the same everywhere."""
    return {name: SHAPES[at % len(SHAPES)] for at, name in enumerate(sorted(set(names)))}


def _models(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["model"] for row in rows))


def _reach(rows: Sequence[Row], value: str, low: str, high: str, scale: float = 1.0) -> Row:
    """Both ends of the 95 % intervals, as plotly wants them."""
    up = [((row[high] or row[value]) - row[value]) / scale for row in rows]
    down = [(row[value] - (row[low] or row[value])) / scale for row in rows]
    return {"type": "data", "array": up, "arrayminus": down, "symmetric": False, "thickness": 1}


def _log(values: Iterable[float]) -> Row:
    """A logarithmic axis with ticks that can be read: plotly's own say 2 and 5 of any power.

    The coarsest of 1, of 1 2 5, of every digit, that leaves FEW_TICKS where the values are.
    """
    known = [value for value in values if value] or [1.0]
    low, high = min(known) / 1.1, max(known) * 1.1
    found: list[float] = []
    for digits in ((1,), (1, 2, 5), range(1, 10)):
        every = (digit * 10.0**power for power in range(-9, 13) for digit in digits)
        found = [tick for tick in every if low / 10 <= tick <= high * 10]
        if sum(low <= tick <= high for tick in found) >= FEW_TICKS:
            break
    return {"type": "log", "tickvals": found, "ticktext": [f"{tick:g}" for tick in found]}


# ------------------------------------------------------------------ over models


def _bars(value: str, low: str, high: str, axis: str, text: Callable[[Row], str]) -> Draw:
    """A bar a model and curve, with its interval."""

    def draw(answer: Answer, rows: Sequence[Row]) -> Drawn:
        known = [row for row in rows if row[value] is not None]
        curves = _curves(known, rows)
        colors = _colors(curves)
        made = go.Figure()
        for name, own in curves.items():
            made.add_bar(
                y=[row["model"] for row in own],
                x=[row[value] for row in own],
                error_x=_reach(own, value, low, high),
                text=[text(row) for row in own],
                textposition="inside",
                insidetextanchor="start",
                textangle=0,
                orientation="h",
                name=name,
                marker={"color": colors[name]},
            )
        models = _models(rows)
        made.update_layout(barmode="group", height=130 + BAR * len(models) * max(1, len(curves)))
        made.update_yaxes(categoryorder="array", categoryarray=models[::-1])
        return [(answer.title, made.update_xaxes(title=axis, rangemode="tozero"))]

    return draw


def _normalised(answer: Answer, rows: Sequence[Row]) -> Drawn:
    """The geometric mean over batch sizes of each model's ratios, on each system."""
    known = [row for row in rows if row["ratio"]]
    if len({row["node"] for row in known}) < 2:
        return []
    curves = _curves(known, known)
    colors = _colors(curves)
    made = go.Figure()
    for name, own in curves.items():
        means = {
            model: _geometric([row["ratio"] for row in own if row["model"] == model])
            for model in _models(own)
        }
        made.add_bar(
            y=list(means), x=list(means.values()), orientation="h", name=name,
            marker={"color": colors[name]},
            text=[f"×{mean:.3g}" for mean in means.values()],
        )  # fmt: skip
    models = _models(rows)
    made.update_layout(barmode="group", height=130 + BAR * len(models) * len(curves))
    made.update_yaxes(categoryorder="array", categoryarray=models[::-1])
    made.add_vline(x=1, line={"dash": "dot", "width": 1, "color": "#888"})
    return [(answer.title, made.update_xaxes(title="latency, baseline = 1", rangemode="tozero"))]


def _geometric(ratios: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))


# ------------------------------------------------------------------ over batch sizes


def _lines(value: str, ends: tuple[str, str], scale: float, axis: Row) -> Draw:
    """A plot a model: a line a curve over batch sizes."""

    def draw(answer: Answer, rows: Sequence[Row]) -> Drawn:
        colors = _colors(curve_of(row, rows) for row in rows)
        drawn = []
        for model in _models(rows):
            own = [row for row in rows if row["model"] == model and row[value] is not None]
            made = go.Figure()
            for name, line in _curves(own, rows).items():
                made.add_scatter(
                    x=[row["batch_size"] for row in line],
                    y=[row[value] / scale for row in line],
                    error_y=_reach(line, value, *ends, scale=scale),
                    mode="lines+markers",
                    name=name,
                    line={"color": colors[name]},
                )
            sizes = sorted({row["batch_size"] for row in own})
            made.update_xaxes(title="batch size", type="log", tickvals=sizes, ticktext=sizes)
            log = _log(row[value] / scale for row in own) if axis.get("type") == "log" else {}
            drawn.append((model, made.update_yaxes(**axis | log)))
        return drawn

    return draw


# ------------------------------------------------------------------ accuracy, costs, limits


def _accuracy(answer: Answer, rows: Sequence[Row]) -> Drawn:
    """Of the figure that most models have."""
    names = [row["name"] for row in rows if row["value"] is not None]
    if not names:
        return []
    first = max(dict.fromkeys(names), key=names.count)
    own = [row for row in rows if row["name"] == first]
    axis = f"{first} on {own[0]['dataset']}, 95 % interval"
    draw = _bars("value", "low", "high", axis, lambda row: f"{row['value']:.4g}")
    return draw(answer, own)


def _tradeoffs(answer: Answer, rows: Sequence[Row]) -> Drawn:
    """Latency against accuracy, or, where that is not known, against throughput."""
    known = [row for row in rows if row["latency_ns"] is not None]
    judged = bool(known) and all(row["accuracy"] is not None for row in known)
    several = len(_models(known)) > 1
    curves: dict[str, list[Row]] = {}
    for row in known:
        curves.setdefault(curve_of(row, known, ("model", *PLACE)), []).append(row)
    colors = _colors(_models(known) if several else curves)
    shapes = _shapes(row["framework"] for row in known)
    made = go.Figure()
    for name, own in curves.items():
        made.add_scatter(
            x=[row["latency_ns"] / 1e6 for row in own],
            y=[row["accuracy" if judged else "throughput"] for row in own],
            mode="markers",
            name=name,
            marker={
                "color": [colors[row["model"] if several else name] for row in own],
                "size": [14 if row["best"] else 8 for row in own],
                "symbol": [shapes[row["framework"]] for row in own],
                "line": {"width": [2 if row["best"] else 0 for row in own], "color": "#888"},
            },
            text=[_words(row) for row in own],
            hovertemplate="%{text}<br>%{x:.4g} ms<extra>%{fullData.name}</extra>",
        )
    log = _log(row["latency_ns"] / 1e6 for row in known)
    made.update_xaxes(title="latency of a predict, p50 (ms)", **log)
    axis: Row = {"title": "accuracy"}
    if not judged:
        axis = {"title": "inputs per second", **_log(row["throughput"] for row in known)}
    return [(answer.title, made.update_yaxes(**axis).update_layout(height=480))]


def _words(row: Row) -> str:
    told = [f"batch {row['batch_size']}"]
    for name, unit in (("throughput", "inputs/s"), ("cost", "for 1,000"), ("energy_j", "J")):
        if row[name] is not None:
            told.append(f"{row[name]:.4g} {unit}")
    return ", ".join(told) + (" (best)" if row["best"] else "")


def _bounds(answer: Answer, rows: Sequence[Row]) -> Drawn:
    """Models, top layers and top kernels under the roofs of their machines."""
    known = [row for row in rows if row["intensity"] and row["gflops"]]
    if not known:
        return []
    made, colors = go.Figure(), _colors(_models(known))
    for model in _models(known):
        own = [row for row in known if row["model"] == model]
        made.add_scatter(
            x=[row["intensity"] for row in own],
            y=[row["gflops"] for row in own],
            mode="markers",
            name=model,
            marker={
                "color": colors[model],
                "size": [15 if row["part"] == "model" else 9 for row in own],
                "symbol": [PARTS[row["part"]] for row in own],
            },
            text=[f"{row['part']} {row['name']}, {curve_of(row, known)}" for row in own],
            hovertemplate="%{text}<br>%{x:.4g} FLOP/B, %{y:.4g} GFLOP/s<extra></extra>",
        )
    ends = [row["intensity"] for row in known]
    ideals = [roof.ideal_intensity for roof in answer.roofs]
    for roof in answer.roofs:
        at = [min(ends) / 2, roof.ideal_intensity, max(*ends, roof.ideal_intensity) * 2]
        made.add_scatter(
            x=at, y=[roof.attainable(x) for x in at], mode="lines", name=f"{roof.source} roof",
            line={"color": "#888", "dash": "dash", "width": 1.5}, hoverinfo="skip",
        )  # fmt: skip
    made.update_xaxes(title="intensity (FLOP a byte)", **_log([*ends, *ideals]))
    peaks = [roof.peak_gflops for roof in answer.roofs]
    made.update_yaxes(title="GFLOP/s", **_log([*(row["gflops"] for row in known), *peaks]))
    return [(answer.title, made.update_layout(height=520))]


def _layers(answer: Answer, rows: Sequence[Row]) -> Drawn:
    """A plot a model: a bar a framework, its layers one after the other, coloured by kind."""
    colors = _colors(row["kind"] for row in rows if row["kind"] not in GREYS) | GREYS
    drawn = []
    for model in _models(rows):
        own = [row for row in rows if row["model"] == model and row["latency_ns"] is not None]
        seams = 0.5 if len(own) < MOST_SEAMS else 0.0
        made = go.Figure()
        for kind in dict.fromkeys(row["kind"] for row in own):
            part = [row for row in own if row["kind"] == kind]
            made.add_bar(
                y=[curve_of(row, rows) for row in part],
                x=[row["latency_ns"] / 1e6 for row in part],
                base=[row["start_ns"] / 1e6 for row in part],
                orientation="h",
                name=kind,
                marker={"color": colors[kind], "line": {"width": seams, "color": "white"}},
                text=[row["name"] or row["na"].get("name", "") for row in part],
                textposition="none",
                hovertemplate="%{text}<br>%{x:.4g} ms<extra>%{fullData.name}</extra>",
            )
        curves = list(dict.fromkeys(curve_of(row, rows) for row in own))
        made.update_layout(barmode="overlay", height=170 + 46 * len(curves))
        made.update_yaxes(categoryorder="array", categoryarray=curves[::-1])
        sizes = {row["batch_size"] for row in own}
        at = f"batch {sizes.pop()}" if len(sizes) == 1 else "each at its own batch size"
        drawn.append((model, made.update_xaxes(title=f"time of a predict (ms), {at}")))
    return drawn


DRAW: dict[str, Draw] = {
    "peak-throughput": _bars(
        "peak_throughput", "throughput_low", "throughput_high", "inputs per second at the peak",
        lambda row: f"batch {row['peak_batch_size']}",
    ),
    "latency-by-batch": _lines(
        "latency_ns", ("low_ns", "high_ns"), 1e6, {"title": "latency, p50 (ms)", "type": "log"}
    ),
    "throughput-by-system": _lines(
        "throughput", ("throughput_low", "throughput_high"), 1.0,
        {"title": "inputs per second", "rangemode": "tozero"},
    ),
    "normalised-latency": _normalised,
    "accuracy": _accuracy,
    "tradeoffs": _tradeoffs,
    "bounds": _bounds,
    "layers": _layers,
}  # fmt: skip
