"""A row of the history as a page shows it."""

from __future__ import annotations

from typing import Any

from bus.messages import HistoryRow
from mlmodelscope import tables

SHALLOW = ("none", "application", "model")


def shown(row: HistoryRow) -> dict[str, Any]:
    """A row of the history, as the terminal's: shallow runs where there are some."""
    shallow = [run for run in row.runs if run.level in SHALLOW] or row.runs
    return {
        "id": row.evaluation_id,
        "at_ns": row.at_ns,
        "model": f"{row.model} {row.model_version}".strip(),
        "framework": f"{row.framework} {row.framework_version}".strip(),
        "node": row.node_id,
        "user": row.user,
        "state": row.state,
        "text": row.text,
        "origin": row.origin,
        "weights": row.weights,
        "sizes": ", ".join(str(run.batch_size or "?") for run in shallow),
        "median": tables.milliseconds([run.median_ns for run in shallow]),
        "right": f"{100 * row.right / row.labelled:.1f} %" if row.labelled else "",
        "dataset": row.dataset,
    }
