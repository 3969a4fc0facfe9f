"""What a page says of a model's standing, from rows of a history: worked out by hand."""

from __future__ import annotations

import pytest

from bus.messages import Claim, FrameworkWanted, HistoryRow, Manifest, ModelResources, RunSummary
from web.standing import accuracies, claimed, fastest, judged, main_accuracy


def row(name: str, *times: tuple[int, int], **fields: object) -> HistoryRow:
    runs = [
        RunSummary(run=i, batch_size=size, level="model", queries=9, median_ns=ns)
        for i, (size, ns) in enumerate(times)
    ]
    given: dict[str, object] = {"model": "M", "framework": "ort", "framework_version": "1"}
    given |= {"node_id": "n", "state": "finished", "runs": runs, "at_ns": 1, **fields}
    return HistoryRow(evaluation_id=name, **given)  # type: ignore[arg-type]


ROWS = [
    row("a", (1, 4_000_000), (8, 16_000_000)),
    row("b", (1, 2_000_000), (1, 9_000_000)),
    row("c", (1, 1_000_000), state="failed"),
    row("d", (1, 1_000_000), origin="imported"),
    row("e", (1, 1_000_000), dataset="D", dataset_version="1.0.0", labelled=10, right=10),
    row("f", (1, 1_000_000), dataset="D", dataset_version="1.0.0", labelled=500, right=480),
    row("g", (1, 1_000_000), dataset="D", labelled=500, right=100, at_ns=0),
]


def test_the_fastest_of_each_place_and_batch_size() -> None:
    found = [(one.batch_size, one.median_ns, one.evaluation, one.runs) for one in fastest(ROWS)]
    assert found == [(1, 2_000_000, "b", 2), (8, 16_000_000, "a", 1)]
    assert [one.rate for one in fastest(ROWS)] == [500, 500]


def test_the_evaluation_of_most_items_judges_and_of_those_the_newest() -> None:
    (one,) = judged(ROWS)
    assert (one.evaluation, one.share, one.labelled) == ("f", 0.96, 500)


@pytest.mark.parametrize(
    ("claim", "measured", "ratio", "why"),
    [
        (Claim(metric="top-1", value=80, unit="%", on="D 1.0.0"), 96.0, 1.2, ""),
        (Claim(metric="top1", value=0.96, on="E"), 0.96, None, "claimed on E"),
        (Claim(metric="latency", value=4, unit="ms", batch_size=1), 2.0, 0.5, ""),
        (Claim(metric="latency", value=4, unit="ms"), 2.0, None, "names no batch size"),
        (Claim(metric="mAP", value=0.3, on="COCO"), None, None, "the pages of its evaluations"),
    ],
)
def test_how_a_claim_stands(
    claim: Claim, measured: float | None, ratio: float | None, why: str
) -> None:
    (found,) = claimed([claim], fastest(ROWS), judged(ROWS))
    assert found.measured == pytest.approx(measured) if measured else found.measured is None
    assert found.ratio == pytest.approx(ratio) if ratio else found.ratio is None
    assert why in found.why
    (nothing,) = claimed([claim], [], [])
    assert nothing.why == "not measured here"


def test_the_accuracy_that_stands_for_a_model() -> None:
    claims = [Claim(metric="top5", value=99, unit="%"), Claim(metric="top1", value=0.7)]
    manifest = Manifest(
        name="m",
        version="1.0.0",
        framework=FrameworkWanted(name="ort"),
        model=ModelResources(),
        claims=claims,
    )
    measured = {"m": judged(ROWS)}
    values = {
        by: best.value
        for by in ("", "claimed", "measured")
        if (best := main_accuracy(accuracies(manifest, measured, by)))
    }
    assert values == {"": 0.96, "claimed": 0.7, "measured": 0.96}
    assert main_accuracy(accuracies(manifest, {}, "measured")) is None
