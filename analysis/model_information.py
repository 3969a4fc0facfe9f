"""A1: the model's latency and throughput at each batch size, and the batch size to use."""

from __future__ import annotations

from analysis.answers import Answer, Row
from analysis.evidence import Evidence
from analysis.latency import LatencyRow

NO_SIZE = "the recording does not tell the batch size: import it with --batch-size N"


class ModelRow(Row, frozen=True, kw_only=True):
    """One batch size. latency_ns: the trimmed mean of a predict; per_input_ms: 1/B of it.

    optimal: the smallest batch whose doubling gains 5 % or less (or the largest measured).
    """

    batch_size: int
    run: int
    level: str
    queries: int
    latency_ns: float
    p50_ns: int | None
    p90_ns: int | None
    p99_ns: int | None
    per_input_ms: float | None
    throughput: float | None
    throughput_low: float | None
    throughput_high: float | None
    optimal: bool


def model_information(evidence: Evidence) -> Answer:
    """Per batch size, from the shallowest run: latency, percentiles, inputs a second."""
    best = evidence.best
    notes = []
    if best is not None and len(evidence.latency) > 1:
        notes.append(f"optimal: batch {best.batch_size}, by {best.rule}")
    return Answer(
        analysis="A1",
        name="model-information",
        title="Model information",
        rows=[
            _row(row, optimal=best is not None and row.batch_size == best.batch_size)
            for row in sorted(evidence.latency, key=lambda row: row.batch_size)
        ],
        notes=notes,
        unavailable="" if evidence.latency else "no predict was measured",
    )


def _row(row: LatencyRow, optimal: bool) -> ModelRow:
    na = {f"{name}_ns": why for name, why in row.needs.items() if name in ("p90", "p99")}
    if row.throughput is None:
        na |= dict.fromkeys(("per_input_ms", "throughput"), NO_SIZE)
    if row.throughput_low is None:
        few = NO_SIZE if row.throughput is None else "needs 6 queries"
        na |= dict.fromkeys(("throughput_low", "throughput_high"), few)
    per_input = row.trimmed_mean_ns / 1e6 / row.batch_size if row.batch_size else None
    return ModelRow(
        analysis="A1",
        na=na,
        batch_size=row.batch_size,
        run=row.run,
        level=row.level,
        queries=row.queries,
        latency_ns=row.trimmed_mean_ns,
        p50_ns=row.p50_ns,
        p90_ns=row.p90_ns,
        p99_ns=row.p99_ns,
        per_input_ms=per_input,
        throughput=row.throughput,
        throughput_low=row.throughput_low,
        throughput_high=row.throughput_high,
        optimal=optimal,
    )
