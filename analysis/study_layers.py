"""A study's figures from its leveled traces: what bounds models, layers and kernels; the stacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from analysis.answers import Answer, percent
from analysis.kernels import roof_words
from analysis.layer_matching import kind_of
from analysis.roofline import Roof, gflops
from analysis.study import OfPlace, Place, about, figure

TOP = 3
"""Layers and kernels of each place in the table of bounds."""
USED = ("A2", "A10", "A14", "A15")
"""The analyses that these figures are made of."""
KINDS = {"matmul": "matrix product", "before": "preparing", "after": "elementwise and norm"}
LONGER = 1.05
"""Layers that together take more of the predict than this are remarked upon."""
OUTSIDE, UNTOLD = "outside of layers", "not told by layer"
NO_TRACES = "the study has no traces: its trace level is {level}"


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    """A place's leveled trace at the batch size of its peak. answers: of USED, by number.

    predict_ns: of the shallowest run. problem: why there is no trace.
    """

    place: Place
    batch_size: int
    answers: Mapping[str, Answer] = {}
    predict_ns: float | None = None
    evaluation_id: str = ""
    problem: str = ""


# ------------------------------------------------------------------ what bounds it


class Bound(OfPlace, frozen=True, kw_only=True):
    """part: model, layer or kernel; rank: 1 took the most time. percent: of the predict. gflops of
    the model is that of its whole predict, whatever its layers reach.

    bound: memory or compute, by the machine's measured ceilings or a device's datasheet.
    """

    batch_size: int
    part: str
    rank: int
    name: str | None
    operator: str
    latency_ns: float | None
    latency_percent: float | None
    intensity: float | None
    gflops: float | None
    bound: str | None


FIGURES = ("latency_ns", "intensity", "gflops", "bound")


def bounds(traces: Sequence[Traced], level: str) -> Answer:
    """What limits each model, its top layers and its top kernels: memory or compute."""
    rows = [row for trace in traces for row in _bounds(trace)]
    notes: dict[str, None] = {}
    roofs: list[Roof] = []
    for trace in traces:
        for roof in (roof for answer in trace.answers.values() for roof in answer.roofs):
            notes[f"{trace.place.node}, {roof.source}: {roof_words(roof)}"] = None
            roofs += [roof] if roof not in roofs else []
    why = NO_TRACES.format(level=level)
    made = figure("bounds", "What bounds models, top layers and kernels", rows, notes, why)
    return msgspec.structs.replace(made, roofs=roofs)


def _bounds(trace: Traced) -> Iterator[Bound]:
    yield from _model(trace)
    unknown = ""
    for part, number, name in (("layer", "A14", "layer_name"), ("kernel", "A10", "name")):
        answer = trace.answers.get(number)
        why = trace.problem or (answer.unavailable if answer else "it was not analyzed")
        rows = answer.table() if answer else []
        if part == "kernel" and answer and any("layers stand" in note for note in answer.notes):
            rows, why = [], f"{trace.place.framework} showed nothing below its layers here"
        ordered = sorted(rows, key=lambda row: -(row["latency_ns"] or 0.0))[:TOP]
        for rank, row in enumerate(ordered, 1):
            yield _bound(trace, part, rank, row[name], row)
        if not ordered and why != unknown:  # what lacks layers lacks kernels by the same reason
            yield _unknown(trace, part, why)
            unknown = why


def _model(trace: Traced) -> Iterator[Bound]:
    answer = trace.answers.get("A15")
    rows = answer.table() if answer else []
    row = next((one for one in rows if one["batch_size"] == trace.batch_size), None)
    if row is None:
        why = trace.problem or (answer.unavailable if answer else "it was not analyzed")
        yield _unknown(trace, "model", why, trace.predict_ns)
    else:
        whole = dict(row)
        if trace.predict_ns is not None:
            whole["latency_ns"] = trace.predict_ns
            if row["flops"] is not None:
                whole["gflops"] = gflops(row["flops"], trace.predict_ns)
        yield _bound(trace, "model", 1, trace.place.model, whole)


def _bound(trace: Traced, part: str, rank: int, name: str, row: Mapping[str, Any]) -> Bound:
    values = {figure: row[figure] for figure in FIGURES}
    na = {figure: row["na"].get(figure, "not known") for figure in FIGURES if row[figure] is None}
    share = None
    if values["latency_ns"] is not None and trace.predict_ns:
        share = percent(values["latency_ns"], trace.predict_ns)
    if share is None:
        na["latency_percent"] = na.get("latency_ns", "no predict was measured")
    return Bound(
        **about(trace.place),
        analysis="bounds",
        na=na,
        batch_size=trace.batch_size,
        part=part,
        rank=rank,
        name=name,
        operator=row.get("operator", ""),
        latency_percent=share,
        **values,
    )


def _unknown(trace: Traced, part: str, why: str, latency_ns: float | None = None) -> Bound:
    names = ["intensity", "gflops", "bound"]
    names += ["latency_ns", "latency_percent"] if latency_ns is None else []
    names += ["name"] if part != "model" else []
    return Bound(
        **about(trace.place),
        analysis="bounds",
        na=dict.fromkeys(names, why),
        batch_size=trace.batch_size,
        part=part,
        rank=1,
        name=trace.place.model if part == "model" else None,
        operator="",
        latency_ns=latency_ns,
        latency_percent=100.0 if latency_ns is not None else None,
        intensity=None,
        gflops=None,
        bound=None,
    )


# ------------------------------------------------------------------ layers, stacked


class Stacked(OfPlace, frozen=True, kw_only=True):
    """One layer in its framework's stack. kind: what sort of work it is, the same words for every
    framework; start_ns: what all layers before it take together; percent: of the predict."""

    batch_size: int
    index: int
    name: str | None
    operator: str | None
    kind: str
    start_ns: float | None
    latency_ns: float | None
    latency_percent: float | None


def layers(traces: Sequence[Traced], level: str) -> Answer:
    """Each framework's layers in order of execution, on one axis; what lies outside of them too.

    A framework that tells no layers is one piece, as long as its predict.
    """
    rows: list[Stacked] = []
    notes = []
    for trace in traces:
        stack = [*_stack(trace)]
        rows += stack
        whole = sum(row.latency_ns or 0.0 for row in stack)
        if trace.predict_ns and whole > LONGER * trace.predict_ns:
            where = " · ".join(filter(None, about(trace.place).values()))
            share = 100 * whole / trace.predict_ns
            notes.append(f"{where}: its layers, of a deeper run, take {share:.0f} % of its predict")
    why = NO_TRACES.format(level=level)
    return figure("layers", "Layers of each framework, stacked", rows, notes, why)


def _stack(trace: Traced) -> Iterator[Stacked]:
    answer = trace.answers.get("A2")
    found = answer.table() if answer else []
    until_ns = 0.0
    for row in sorted(found, key=lambda row: row["index"]):
        part = _part(trace, row["index"], kind_in_words(row["operator"]), until_ns)
        until_ns += row["latency_ns"]
        share = percent(row["latency_ns"], trace.predict_ns)
        na = {} if share is not None else {"latency_percent": "no predict was measured"}
        told = {"name": row["name"], "operator": row["operator"]}
        yield Stacked(**part, **told, latency_ns=row["latency_ns"], latency_percent=share, na=na)
    if found and trace.predict_ns and (rest_ns := trace.predict_ns - until_ns) > 0:
        share = percent(rest_ns, trace.predict_ns)
        told = {"name": OUTSIDE, "operator": ""}
        part = _part(trace, len(found), OUTSIDE, until_ns)
        yield Stacked(**part, **told, latency_ns=rest_ns, latency_percent=share)
    if not found:
        why = trace.problem or (answer.unavailable if answer else "it was not analyzed")
        names = ["name", "operator"]
        if trace.predict_ns is None:
            names += ["start_ns", "latency_ns", "latency_percent"]
        part = _part(trace, 0, UNTOLD, 0.0 if trace.predict_ns is not None else None)
        whole = 100.0 if trace.predict_ns is not None else None
        yield Stacked(
            **part,
            name=None,
            operator=None,
            latency_ns=trace.predict_ns,
            latency_percent=whole,
            na=dict.fromkeys(names, why),
        )


def _part(trace: Traced, index: int, kind: str, start_ns: float | None) -> dict[str, Any]:
    return {
        **about(trace.place),
        "analysis": "layers",
        "batch_size": trace.batch_size,
        "index": index,
        "kind": kind,
        "start_ns": start_ns,
    }


def kind_in_words(operator: str) -> str:
    """What sort of work an operator does, as people say it."""
    kind = kind_of(operator)
    return KINDS.get(kind, {"conv": "convolution", "pool": "pooling"}.get(kind, kind))
