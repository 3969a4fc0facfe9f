"""A model's history as series: what belongs together, and what is said of a change."""

from __future__ import annotations

from analysis.trends import MOST_POINTS, trends
from bus.messages import HistoryRow, RunSummary


def row(at: int, median_ns: int, **fields: object) -> HistoryRow:
    runs = [
        RunSummary(run=0, batch_size=1, level="model", queries=10, median_ns=median_ns),
        RunSummary(run=1, batch_size=1, level="framework", queries=10, median_ns=9 * median_ns),
    ]
    given: dict[str, object] = {"state": "finished", "framework": "ort", "node_id": "n1"}
    given |= {"model": "M", "framework_version": "1.0", "runs": runs, **fields}
    return HistoryRow(evaluation_id=f"{at:04x}", at_ns=at, **given)  # type: ignore[arg-type]


def test_a_change_names_what_came_with_it() -> None:
    """Eight times around 10 ms, then eight around 12 ms: worked by hand, medians 10 and 12."""
    wobble = [0, 1, -1, 2, -2, 1, 0, -1]
    rows = [row(i, 10_000_000 + 10_000 * w) for i, w in enumerate(wobble)]
    rows += [
        row(8 + i, 12_000_000 + 10_000 * w, framework_version="1.1") for i, w in enumerate(wobble)
    ]
    (found,) = trends(reversed(rows))  # as the history has them: the newest first
    assert [point.at_ns for point in found.points] == list(range(16))
    (change,) = found.changes
    assert change.evaluation_id == "0008" and change.differs == ["framework 1.0 → 1.1"]
    assert (change.before_ns, change.after_ns) == (10_000_000, 12_000_000)
    assert change.ratio == 1.2


def test_what_is_not_alike_is_another_series() -> None:
    rows = [row(i, 5) for i in range(3)]
    rows += [row(9, 5, node_id="n2"), row(10, 5, dataset="MNIST"), row(11, 5, framework="torch")]
    rows += [row(12, 5, state="failed"), row(13, 5, origin="imported"), row(14, 5, runs=[])]
    found = trends(rows)
    assert [(t.framework, t.node_id, t.dataset, len(t.points)) for t in found] == [
        ("ort", "n1", "", 3),
        ("ort", "n2", "", 1),
        ("ort", "n1", "MNIST", 1),
        ("torch", "n1", "", 1),
    ]
    assert found[0].changes == []


def test_a_long_history_keeps_its_newest_points() -> None:
    (found,) = trends([row(i, 5) for i in range(MOST_POINTS + 7)])
    assert (len(found.points), found.left_out, found.points[0].at_ns) == (MOST_POINTS, 7, 7)
