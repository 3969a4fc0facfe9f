"""Accuracy as a person reads it: shares with their intervals, confusions, the wrong items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.markup import escape

from analysis.accuracy import Accuracy
from analysis.classification import (
    Classification,
    Confused,
    WrongItem,
    worst_confusions,
)
from analysis.paired import Paired
from analysis.proportions import Share
from analysis.summary import Result
from bus.messages import Message, RunMeasured
from mlmodelscope.page import Rows
from mlmodelscope.report import claim_lines, own_command
from mlmodelscope.tables import Column, console, table

FIRST = 10
"""How many wrong items are shown unless all are asked for."""


@dataclass(frozen=True)
class Figure:
    """One number that says how right a model is, with its 95 % interval where there is one."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = "%"
    note: str = ""


def figures(row: Accuracy) -> Iterator[Figure]:
    """Every figure of what was judged."""
    if (found := row.classification) is not None:
        for top in found.top:
            yield _shared(f"top{top.k}", top.share)
        for name, average in (("macro", found.macro), ("micro", found.micro)):
            for which in ("precision", "recall", "f1"):
                yield Figure(f"{which}_{name}", getattr(average, which))
    if row.detection is not None:
        yield Figure("mAP", row.detection.mean_precision, note="IoU 0.50:0.95")
        yield Figure("mAP50", row.detection.mean_precision_50)
        yield Figure("mAP75", row.detection.mean_precision_75)
    if row.segmentation is not None:
        yield Figure("mIoU", row.segmentation.mean_overlap)
        yield Figure("pixel_accuracy", row.segmentation.pixel_accuracy)
    if row.enhancement is not None:
        yield Figure("psnr", row.enhancement.psnr_db, unit="dB")
        yield Figure("ssim", row.enhancement.ssim, unit="")
    if row.text is not None:
        yield _shared("exact_match", row.text.exact)
        yield Figure("word_error_rate", row.text.word_error_rate)


def _shared(name: str, share: Share) -> Figure:
    note = f"{share.right} of {share.of}"
    return Figure(name, share.share, share.low, share.high, note=note)


def speed(row: Accuracy, facts: Sequence[Message]) -> dict[str, float]:
    """Items a second: of the predict calls alone, and of the whole pass with reading and all."""
    runs = [f for f in facts if isinstance(f, RunMeasured) and f.job_id == row.job_id]
    ends = [
        f.start_ns + start + took
        for f in runs
        for start, took in zip(f.starts_ns, f.durations_ns, strict=True)
    ]
    predict_s = sum(sum(f.durations_ns) for f in runs) / 1e9
    pass_s = (max(ends) - min(f.start_ns for f in runs)) / 1e9 if ends else 0.0
    return {
        "predict_s": predict_s,
        "pass_s": pass_s,
        "items_per_s": row.items / predict_s if predict_s else 0.0,
    }


# ---------------------------------------------------------------- for people

FIGURES = [
    Column("figure"),
    Column("value", right=True),
    Column("95 % interval", right=True),
    Column("items", right=True),
]
CONFUSED = [Column("is"), Column("said to be"), Column("items", right=True)]
WRONG = [
    Column("position", right=True),
    Column("input"),
    Column("true"),
    Column("said"),
    Column("probability", show=lambda p: f"{p:.3f}", right=True),
    Column("true one's rank", "truth_rank", lambda rank: str(rank or "–"), right=True),
]
CLASSES = [
    Column("class"),
    Column("items", right=True),
    Column("right", right=True),
    *(
        Column(name, show=lambda x: f"{100 * x:.1f} %", right=True)
        for name in ("precision", "recall", "f1")
    ),
]


def print_row(row: Accuracy, result: Result, *, every_wrong: bool) -> None:
    """One job on one dataset."""
    out = console()
    on = f"{row.framework} {row.framework_version} · node {row.node_id}"
    title = f"{row.model} {row.model_version} on {row.dataset} {row.dataset_version}"
    out.print(f"\n[bold]{escape(title)}[/] · {escape(on)}")
    if row.weights != "trained":
        out.print(f"[yellow]its weights are {row.weights}: this says nothing of the model[/]")
    told = list(figures(row))
    if told:
        out.print(table([figure_cells(figure) for figure in told], FIGURES))
    else:
        out.print("no item has a label that this model's answers could be held against")
    out.print(_counted(row))
    for line in claim_lines(row.claims):
        out.print(line)
    if row.classification is not None:
        _print_classes(row.classification, every_wrong)
    if row.text is not None and row.text.wrong:
        wrong = row.text.wrong if every_wrong else row.text.wrong[:FIRST]
        columns = [Column(name) for name in ("input", "truth", "said")]
        rows = [msgspec.to_builtins(each) for each in wrong]
        out.print(table(rows, columns, f"\nWrong, {len(wrong)} of {len(row.text.wrong)}"))
    for latency in result.latency:
        if latency.job_id == row.job_id and latency.p50_ns is not None:
            out.print(
                f"speed of the same pass: {latency.throughput:.1f} inputs/s predicting, "
                f"p50 {latency.p50_ns / 1e6:.3f} ms a batch of {latency.batch_size}"
            )


def wrong_parts(row: Accuracy) -> Iterator[Rows]:
    """What a model got wrong, the first of it, as parts of a page."""
    if (found := row.classification) is not None:
        if worst := worst_confusions(found):
            yield Rows([_mixed_up(cell) for cell in worst], CONFUSED, "Most often mixed up")
        if found.wrong:
            title = f"Wrong, {len(found.wrong[:FIRST])} of {len(found.wrong)}"
            yield Rows([_missed(each) for each in found.wrong[:FIRST]], WRONG, title)
    if row.text is not None and row.text.wrong:
        rows = [msgspec.to_builtins(each) for each in row.text.wrong[:FIRST]]
        title = f"Wrong, {len(rows)} of {len(row.text.wrong)}"
        yield Rows(rows, [Column(name) for name in ("input", "truth", "said")], title)


def one_line(row: Accuracy) -> str:
    """The first figure, for lists."""
    for figure in figures(row):
        if figure.value is not None:
            return f"{figure.name} {_value(figure.value, figure.unit)} on {row.dataset}"
    return f"on {row.dataset}"


def _counted(row: Accuracy) -> str:
    text = f"{row.items} items ran"
    return text + (f"; {row.unlabelled} of them have no label" if row.unlabelled else "")


def _print_classes(found: Classification, every_wrong: bool) -> None:
    out = console()
    if 1 < len(found.classes) <= 20:
        rows = [
            {**msgspec.to_builtins(each), "class": each.label or str(each.index)}
            for each in found.classes
        ]
        out.print(table(rows, CLASSES, "\nEach class"))
    if worst := worst_confusions(found):
        cells = [_mixed_up(cell) for cell in worst]
        out.print(table(cells, CONFUSED, "\nMost often mixed up"))
    if found.wrong:
        shown = found.wrong if every_wrong else found.wrong[:FIRST]
        rows = [_missed(each) for each in shown]
        more = "" if len(shown) == len(found.wrong) else " (--wrong shows all)"
        title = f"\nWrong, {len(shown)} of {len(found.wrong)}{more}"
        out.print(table(rows, WRONG, title))


def _mixed_up(cell: Confused) -> dict[str, Any]:
    return {
        "is": cell.truth_label or str(cell.truth),
        "said to be": cell.said_label or str(cell.said),
        "items": cell.items,
    }


def _missed(each: WrongItem) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(each),
        "true": each.truth_label or str(each.truth),
        "said": each.said_label or str(each.said),
    }


def figure_cells(figure: Figure) -> dict[str, Any]:
    """One figure as a row of FIGURES."""
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f"{_value(figure.low, '')}–{_value(figure.high, figure.unit)}"
        if figure.unit == "%":
            interval = f"{100 * figure.low:.2f}–{100 * figure.high:.2f} %"
    return {
        "figure": figure.name.replace("_", " "),
        "value": "–" if figure.value is None else _value(figure.value, figure.unit),
        "95 % interval": interval,
        "items": figure.note,
    }


def _value(value: float, unit: str) -> str:
    return f"{100 * value:.2f} %" if unit == "%" else f"{value:.3f} {unit}".strip()


def print_paired(found: Paired) -> None:
    """Two runs side by side, item by item."""
    out = console()
    out.print(f"\n[bold]A[/] {escape(found.a)}\n[bold]B[/] {escape(found.b)}")
    rows = [
        {"": "A right", "B right": found.both_right, "B wrong": found.only_a},
        {"": "A wrong", "B right": found.only_b, "B wrong": found.both_wrong},
    ]
    out.print(
        table(rows, [Column(""), Column("B right", right=True), Column("B wrong", right=True)])
    )
    out.print(
        f"{found.items} labelled items in both; they say something else of {found.differing}; "
        f"p = {found.p_value:.3g} that they are equally often right (exact McNemar test)"
    )
    if found.disagreements:
        shown = [
            {**msgspec.to_builtins(row), "right": row.right.upper()} for row in found.disagreements
        ]
        columns = [Column("input"), Column("right"), Column("truth"), Column("a"), Column("b")]
        out.print(table(shown, columns, "\nOne right, the other wrong"))


def print_next(result: Result, kept_in: Path | None) -> None:
    """What to do now."""
    out, short = console(), result.evaluation_id[:8]
    if kept_in is not None:
        out.print(f"\nWritten to {kept_in}, and forgotten by the store")
        return
    out.print(f"\nStored as {result.evaluation_id}\nNext:")
    for words, why in (
        (f"predictions {short} --wrong", "every wrong item"),
        (f"show {short} --output json", "every number, for programs"),
        (f"timeline {short} -o trace.json", "open it at https://ui.perfetto.dev"),
    ):
        out.print(f"  {own_command()} {words:<32} # {why}", soft_wrap=True)
