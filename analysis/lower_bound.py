"""Theoretical performance: what each layer computes and moves, and how quick it can be."""

from __future__ import annotations

from analysis.answers import Answer, Row, lacking, total
from analysis.kernel_sums import no_roof
from analysis.kernels import Kernels
from analysis.layer_information import NO_LAYERS, where_from
from analysis.layer_kernels import work_of_layer

NAME = "theoretical"


class TheoreticalRow(Row, frozen=True, kw_only=True):
    """One layer (on a device, its kernels' time); the last row is the model, by its predicts.

    flops: 2 x MAC of products and convolutions, else operations by rule. least_ns: max(flops
    / peak, bytes / bandwidth) of the roof; times_least: measured over it.
    """

    layer: int
    layer_name: str
    operator: str
    macs: int | None
    flops: int | None
    bytes: int | None
    least_ns: float | None
    latency_ns: float | None
    times_least: float | None


def theoretical(of: Kernels) -> Answer:
    """What each layer has to compute and move, its least time under the roof, and its own."""
    rows, roof = [], of.roof
    why_no_roof = no_roof(of.table, of.evidence.started.node_id if of.evidence.started else "NODE")
    for layer in of.layers.layers:
        took_ns, _ = work_of_layer(of, layer)
        na = dict.fromkeys(("macs", "flops"), layer.work.why) if layer.work.why else {}
        if took_ns is None:
            na["latency_ns"] = "no kernel of it was timed"
        if layer.bytes is None:
            na["bytes"] = "the shapes that its traffic follows from are not recorded"
        least_ns = None
        if roof is None or layer.work.flops is None or layer.bytes is None:
            why = why_no_roof if roof is None else next(iter(na.values()))
            na |= dict.fromkeys(("least_ns", "times_least"), why)
        else:
            least_ns = roof.least_ns(layer.work.flops, layer.bytes)
            if not least_ns or took_ns is None:
                na["times_least"] = na.get("latency_ns", "it computes and moves nothing")
        rows.append(
            TheoreticalRow(
                analysis=NAME,
                na=na,
                layer=layer.index,
                layer_name=layer.name,
                operator=layer.operator,
                macs=layer.work.macs,
                flops=layer.work.flops,
                bytes=layer.bytes,
                least_ns=least_ns,
                latency_ns=took_ns,
                times_least=took_ns / least_ns if least_ns and took_ns is not None else None,
            )
        )
    notes = [where_from(of.layers), "FLOPs are 2 × MAC; bytes: every input, weight and output once"]
    notes += of.roof_notes
    if any(row.times_least is not None and row.times_least < 1 for row in rows):
        notes.append(
            "quicker than the least: what such a layer moves lay in a cache, which is faster than "
            "the memory that was measured"
        )
    notes += _graph(of, rows)
    if rows:
        rows.append(_whole(rows, of.evidence.predict_ns(of.batch_size)))
    return Answer(
        analysis=NAME,
        name=NAME,
        title="Theoretical performance",
        rows=rows,
        notes=notes if rows else [],
        unavailable="" if rows else NO_LAYERS,
        roofs=of.roofs,
    )


def _whole(rows: list[TheoreticalRow], model_ns: float | None) -> TheoreticalRow:
    found = {}
    na = {}
    for column in ("macs", "flops", "bytes", "least_ns"):
        values = [getattr(row, column) for row in rows]
        found[column] = total(values)
        if found[column] is None:
            na[column] = lacking(values, [row.na.get(column, "") for row in rows], column)
    least_ns = found["least_ns"]
    took_ns = model_ns if model_ns is not None else sum(row.latency_ns or 0.0 for row in rows)
    if not least_ns:
        na["times_least"] = na.get("least_ns", "")
    return TheoreticalRow(
        analysis=NAME,
        na=na,
        layer=-1,
        layer_name="(the model)",
        operator="",
        latency_ns=took_ns,
        times_least=took_ns / least_ns if least_ns else None,
        **found,  # type: ignore[arg-type]
    )


def _graph(of: Kernels, rows: list[TheoreticalRow]) -> list[str]:
    """How the layers that ran compare with the model's own graph."""
    graph = of.evidence.graph
    if graph is None:
        return []
    if graph.macs < 0:
        why = f"multiply-adds of the model's own graph: n/a: {graph.macs_by}"
        return [why] if graph.macs_by else []
    whole = f"{graph.macs:,} multiply-adds in the model's own graph ({graph.macs_by})"
    described = {run.index: run.batch_size for run in of.evidence.runs}.get(graph.run)
    if described and described != of.batch_size:
        return [f"{whole}, of batch {described}"]
    ran = sum(row.macs or 0 for row in rows)
    if not graph.macs:
        return [whole]
    share = 100 * ran / graph.macs
    padded = (
        ": more than all, where channels are padded to a vector's width" if share > 100.5 else ""
    )
    return [f"{whole}; the layers that ran account for {share:.2f} % of them{padded}"]
