"""The report of one evaluation: what it says, how fast it is, why, and how it was measured."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from rich.text import Text

from analysis.accuracy import Accuracy, accuracy
from analysis.answers import Answer
from analysis.summary import Result
from bus.messages import JobStarted, Manifest, Message, TimelineChunk
from collector.timeline import Timeline
from mlmodelscope import accuracy_report, answer_words, load_report, report, reproduce
from mlmodelscope.imported import devices
from mlmodelscope.page import Cards, Code, Page, Part, Plot, Rows, Words
from mlmodelscope.predictions import rows_by_kind
from mlmodelscope.report_setting import completeness_of, environment_of, settings_of
from mlmodelscope.tables import Column, ms

DRAWN = ("A1", "A6", "A3", "A10", "A14")
"""Analyses of which a report has the plot."""
LISTED = {"A6": 12, "A2": 15, "A10": 10, "A15": 0}
"""Those of which it has a table, and how many rows (0: all)."""
TOLD = ("A1", "A6", "A3", "A2", "A10", "A14", "A15")
HEIGHTS = {"A1": 440, "A3": 480}
LOW = ("A1", "A3", "A6", "A10")
"""Plots that need less height on a page than alone."""
MOST_BARS = 20
FEW_PREDICTIONS = 6
ELSEWHERE = ("peak memory", "unavailable:")
"""Lines that a report has at other places."""


@dataclass(frozen=True)
class Reported:
    """Everything that a report is made of."""

    evaluation_id: str
    facts: list[Message]
    result: Result
    timeline: Timeline | TimelineChunk
    answers: Sequence[Answer]
    manifest: Manifest | None = None
    manifest_text: str = ""

    @property
    def started(self) -> JobStarted:
        """Of its first job."""
        return next(fact for fact in self.facts if isinstance(fact, JobStarted))


def page_of(stored: Reported) -> Page:
    """The whole report."""
    result = stored.result
    page = Page(_title(result), about(stored))
    judged = accuracy(stored.facts)
    page.add("Summary", [*_warnings(result), Cards([*_cards(stored, judged)])])
    page.add("How fast it is", [*_speed(stored)])
    page.add("How right it is", [part for row in judged for part in judged_of(row)])
    if not result.dataset:
        page.add("What it says", [*_said(result)])
    page.add("Where the time goes, and what limits it", [*_why(stored)])
    page.add("Environment", [*environment_of(stored.facts, result)])
    page.add("Settings, requested and effective", [*settings_of(stored.facts, result)])
    page.add("Manifest", [*manifest_of(stored)])
    page.add("Completeness", [*completeness_of(result, stored.timeline), *_lacking(stored)])
    page.add("Measure it again", [*again(stored)])
    return page


def about(stored: Reported) -> str:
    """Which evaluation it is, and when and where it ran."""
    started, result = stored.started, stored.result
    at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(started.at_ns / 1e9))
    machine = result.node
    cpu = f"{machine.cpu}, {machine.cores} cores" if machine and machine.cores else ""
    if machine is not None and result.recording is not None:
        cpu = devices(machine)
    parts = (f"Evaluation {stored.evaluation_id}", at, cpu, f"node {result.node_id}")
    return " · ".join(part for part in parts if part)


def _title(result: Result) -> str:
    """What ran; what an imported recording does not say is left out."""
    words = (result.model, result.model_version, "on", result.framework, result.framework_version)
    return " ".join(word for word in words if word and not word.startswith("unknown"))


def plain(markup: str) -> str:
    """A line for a terminal without its colours."""
    return Text.from_markup(markup).plain


def merged(lines: Iterable[str]) -> Iterator[str]:
    """What is said of several batch sizes alike, once."""
    sizes: dict[str, list[str]] = {}
    for line in lines:
        head, colon, text = line.partition(": ")
        about = head.removeprefix("batch ") if head.startswith("batch ") and colon else ""
        sizes.setdefault(text if about else line, []).append(about)
    for text, abouts in sizes.items():
        yield f"batch {', '.join(abouts)}: {text}" if any(abouts) else text


# ---------------------------------------------------------------- the parts


def _warnings(result: Result) -> Iterator[Part]:
    if result.weights != "trained" and not result.recording:
        yield Words(f"Its weights are {result.weights}: {report.UNTRAINED}.", "warning")
    if not result.complete:
        yield Words(f"Not complete: {'; '.join(result.missing)}.", "warning")
    for row in result.scenarios:
        if not row.valid:
            failed = ", ".join(one.name for one in row.conditions if not one.met)
            yield Words(f"The {row.scenario} run is INVALID: {failed}.", "warning")


def _cards(stored: Reported, judged: Sequence[Accuracy]) -> Iterator[tuple[str, str, str]]:
    result = stored.result
    for job in judged[:1]:
        for figure in list(accuracy_report.figures(job))[:1]:
            cells = accuracy_report.figure_cells(figure)
            yield cells["figure"], cells["value"], cells["95 % interval"] or cells["items"]
    if result.scenarios:
        load = result.scenarios[0]
        p50 = f"{ms(load.percentiles_ns['p50'])} ms"
        yield f"{load.scenario}, batch {load.batch_size} (p50)", p50, load_report.figure(load)
    elif result.latency:
        row = result.latency[0]
        size = row.batch_size or "unknown"
        interval = f"95 % {ms(row.median_low_ns)}–{ms(row.median_high_ns)} ms"
        about = interval if row.median_low_ns is not None else f"n = {row.queries}"
        yield f"latency, batch {size} (p50)", f"{ms(row.p50_ns)} ms", about
    if (best := result.best_batch) is not None:
        yield (
            "best throughput",
            f"{answer_words.number(best.throughput)} inputs/s",
            f"at batch {best.batch_size}",
        )
    for answer in stored.answers:
        if answer.analysis == "A6" and answer.rows:
            row_of = answer.table()[0]
            if row_of["percent"] is not None:
                said = f"{row_of['percent']:g} % of the time"
                yield "most time in", str(row_of["operator"]), said
    if result.peak_memory_bytes:
        size_mb = f"{result.peak_memory_bytes / 2**20:,.0f} MiB"
        yield "peak memory", size_mb, "of the worker process"


def _speed(stored: Reported) -> Iterator[Part]:
    result = stored.result
    if result.latency:
        yield Rows(report.latency_rows(result), report.LATENCY, mark="best")
        for line in merged(plain(line) for line in report.latency_notes(result)):
            yield Words(line, "note")
    yield from _drawn(stored, "A1", needed=len(result.latency) > 1)
    yield from under_load(result)
    for line in (*report.claim_lines(result.claims), *report.cost_lines(result)):
        if not line.startswith(ELSEWHERE):
            yield Words(plain(line), "note")


def under_load(result: Result) -> Iterator[Part]:
    """Each load that was asked for: its figure, whether it is valid, and every condition unmet."""
    if not result.scenarios:
        return
    rows = [
        {"load": row.scenario, "batch": row.batch_size, "queries": row.queries}
        | {"result": load_report.figure(row), "verdict": "VALID" if row.valid else "INVALID"}
        for row in result.scenarios
    ]
    names = ("load", "batch", "queries", "result", "verdict")
    yield Rows(rows, [Column(name) for name in names], "Under load")
    for row in result.scenarios:
        for one in row.conditions:
            if not one.met:
                yield Words(f"{one.name}: {one.found}, expected {one.expected}", "warning")


def judged_of(row: Accuracy) -> Iterator[Part]:
    """How right one job is on its dataset: every figure, and each class where they are few."""
    cells = [accuracy_report.figure_cells(figure) for figure in accuracy_report.figures(row)]
    title = f"{row.dataset} {row.dataset_version}: {row.items} items"
    if cells:
        yield Rows(cells, accuracy_report.FIGURES, title)
    else:
        yield Words(f"{title}, and no label that these answers could be held against")
    if (found := row.classification) is not None and 1 < len(found.classes) <= 20:
        rows = [
            {**msgspec.to_builtins(each), "class": each.label or str(each.index)}
            for each in found.classes
        ]
        yield Rows(rows, accuracy_report.CLASSES, "Each class")


def _said(result: Result) -> Iterator[Part]:
    shown = result.predictions[:FEW_PREDICTIONS]
    for rows, columns in rows_by_kind(shown):
        yield Rows(rows, columns)
    if more := len(result.predictions) - len(shown):
        yield Words(f"and of {more} more inputs: `mlmodelscope show` has them all", "note")


def _why(stored: Reported) -> Iterator[Part]:
    for answer in stored.answers:
        if answer.analysis == "A1" or answer.unavailable:
            continue
        rows, most = answer.table(), LISTED.get(answer.analysis)
        if answer.analysis == "A10" and any("layers stand" in note for note in answer.notes):
            continue  # nothing below the layers was seen: A6 says it all
        title = f"{answer.analysis} · {answer.title}"
        yield from _drawn(stored, answer.analysis)
        if most is not None and rows:
            shown = _slowest(rows, most) if most else rows
            more = f", the {len(shown)} slowest of {len(rows)}" if len(shown) < len(rows) else ""
            cells = [answer_words.cells(row) for row in shown]
            known = {name for row in rows for name, value in row.items() if value is not None}
            columns = [one for one in answer_words.columns_of(rows) if one.field in known]
            yield Rows(cells, columns, f"{title}{more}")
        if answer.analysis not in DRAWN or most is not None:
            for note in [*answer.notes, *answer_words.reasons(rows)]:
                yield Words(note, "note")


def _slowest(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Those that take the longest, or the first where no times are known."""
    return sorted(rows, key=lambda row: -(row.get("latency_ns") or 0))[:most]


def _drawn(stored: Reported, analysis: str, needed: bool = True) -> Iterator[Part]:
    """The plot of an analysis; where there is nothing to draw, why."""
    found = next((one for one in stored.answers if one.analysis == analysis), None)
    if found is None or found.unavailable or analysis not in DRAWN or not needed:
        return
    from mlmodelscope import plots

    figure = plots.figure(found)
    title = f"{found.analysis} · {found.title}"
    if figure.data:
        if analysis in LOW:
            bars = min(len(found.rows), MOST_BARS) + 1
            figure.update_layout(height=HEIGHTS.get(analysis, 170 + 34 * bars))
        yield Plot(figure, title)
    else:
        why = "; ".join(answer_words.reasons(found.table())) or "nothing to draw"
        yield Words(f"{title}: no plot: {why}", "note")


def _lacking(stored: Reported) -> Iterator[Part]:
    for answer in stored.answers:
        if answer.unavailable:
            yield Words(f"n/a: {answer.title}: {answer.unavailable}", "note")


def manifest_of(stored: Reported) -> Iterator[Part]:
    """What was run, by its digest, and the manifest itself where it is still known."""
    started = stored.started
    rows: list[dict[str, Any]] = [
        {"what": "model", "name": f"{started.model} {started.model_version}"}
        | {"digest": started.model_digest or "n/a: the recording has none"},
    ]
    if started.dataset:
        rows.append(
            {"what": "dataset", "name": f"{started.dataset} {started.dataset_version}"}
            | {"digest": started.dataset_digest}
        )
    yield Rows(rows, [Column("what"), Column("name"), Column("digest")])
    if stored.manifest_text:
        yield Code(stored.manifest_text, "the manifest")
    else:
        yield Words("the manifest is not known to this system by its digest (any more)", "note")


def again(stored: Reported) -> Iterator[Part]:
    """The command, and what it leaves open."""
    yield Code(reproduce.command(stored.facts, stored.result, stored.manifest))
    for line in reproduce.remarks(stored.facts, stored.manifest):
        yield Words(line, "note")
