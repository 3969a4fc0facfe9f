"""The report of several evaluations held against the first: verdicts, figures, what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import msgspec

from analysis.accuracy import accuracy
from analysis.comparability import facts_of_setting
from analysis.comparison import Comparison
from analysis.layer_matching import LayerPair
from analysis.summary import Result
from mlmodelscope import accuracy_report, comparison_report, report_one, reproduce
from mlmodelscope.answer_words import number
from mlmodelscope.page import Code, Page, Part, Plot, Rows, Words
from mlmodelscope.report_one import Reported, plain
from mlmodelscope.report_setting import completeness_of
from mlmodelscope.tables import Column, ms

MOST_LAYERS = 20
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Compared:
    """The evaluations, each but the first with what came of holding it against that.

    command: how this report is made again.
    """

    sides: Sequence[Reported]
    found: Sequence[Comparison]
    layers: Sequence[Sequence[LayerPair]]
    command: str


def page_of(compared: Compared) -> Page:
    """The whole report."""
    names = names_of(compared.sides)
    models = {f"{s.result.model} {s.result.model_version}" for s in compared.sides}
    what = f"{models.pop()}: " if len(models) == 1 else ""
    title = f"{what}{len(names)} evaluations compared"
    if len(names) == 2:
        title = what + " against ".join(name.partition(" · ")[2] for name in names)
    about = "Each is held against A; A is the first that was named." if len(names) > 2 else ""
    page = Page(title, about or "B is held against A.")
    page.add("What was compared", [*_overview(compared.sides, names)])
    page.add("Latency and throughput", [*_plots(compared.sides, names)])
    for letter, found, pairs in zip(LETTERS[1:], compared.found, compared.layers, strict=False):
        page.add(f"{letter} against A", [*verdict_of(found, letter)])
        page.add(f"Layers of A and {letter}", [*layers_of(pairs, letter)])
    page.add("Settings and circumstances", [*_settings(compared.sides)])
    page.add("Completeness", [*_completeness(compared.sides, names)])
    page.add("Measure it again", [*_again(compared, names)])
    return page


def names_of(sides: Sequence[Reported]) -> list[str]:
    """A letter for each, and what tells it from the others: model, framework, node or its id."""
    parts: list[list[str]] = [
        [
            f"{side.result.model} {side.result.model_version}",
            f"{side.result.framework} {side.result.framework_version}",
            side.result.node_id,
            side.evaluation_id[:8],
        ]
        for side in sides
    ]
    telling = [at for at in range(3) if len({part[at] for part in parts}) > 1]
    same_twice = len({tuple(part[at] for at in telling) for part in parts}) < len(parts)
    shown = sorted({*telling, *([3] if same_twice else [])})
    return [
        f"{letter} · {' · '.join(part[at] for at in shown)}"
        for letter, part in zip(letters_of(len(parts)), parts, strict=True)
    ]


def letters_of(many: int) -> list[str]:
    """A to Z, then numbers."""
    numbers = count(27)
    return [LETTERS[at] if at < 26 else f"#{next(numbers)}" for at in range(many)]


def _overview(sides: Sequence[Reported], names: Sequence[str]) -> Iterator[Part]:
    rows = []
    for name, side in zip(names, sides, strict=True):
        result, best = side.result, side.result.best_batch
        judged = [f for row in accuracy(side.facts)[:1] for f in accuracy_report.figures(row)]
        cells = accuracy_report.figure_cells(judged[0]) if judged else {}
        rows.append(
            {
                "evaluation": name,
                "id": side.evaluation_id[:8],
                "node": result.node_id,
                "p50": _typical(result),
                "best": f"{number(best.throughput)} at batch {best.batch_size}" if best else "n/a",
                "right": f"{cells['figure']} {cells['value']}" if cells else "",
            }
        )
    yield Rows(
        rows,
        [
            *(Column("evaluation"), Column("id"), Column("node")),
            *(Column("p50 ms", "p50", right=True), Column("best inputs/s", "best", right=True)),
            Column("accuracy", "right", right=True, optional=True),
        ],
    )
    for side, name in zip(sides, names, strict=True):
        if side.result.weights != "trained" and not side.result.recording:
            text = f"{name}: its weights are {side.result.weights}: good for timing only."
            yield Words(text, "warning")


def _typical(result: Result) -> str:
    """The median query at the smallest batch size, under the load if there was one."""
    if result.scenarios:
        load = result.scenarios[0]
        at = f"at batch {load.batch_size}, {load.scenario.replace('_', '-')}"
        return f"{ms(load.percentiles_ns['p50'])} {at}"
    if result.latency:
        return f"{ms(result.latency[0].p50_ns)} at batch {result.latency[0].batch_size}"
    return "n/a"


def _plots(sides: Sequence[Reported], names: Sequence[str]) -> Iterator[Part]:
    rows = [(name, side.result.latency) for name, side in zip(names, sides, strict=True)]
    if not any(row.batch_size for _, latency in rows for row in latency):
        return
    from mlmodelscope import plots_comparison

    yield Plot(plots_comparison.over_batches(rows), "latency and throughput over batch sizes")
    yield Words("bars: 95 % intervals of the medians; the axis of latency is logarithmic", "note")


def verdict_of(found: Comparison, letter: str) -> Iterator[Part]:
    """What may be said of one held against A, the figures, and everything that differs."""
    refused = not found.gate.comparable
    for place, line in enumerate(comparison_report.headline(found)):
        kind = ("warning" if refused else "lead") if place == 0 else "note"
        yield Words(_lettered(plain(line), letter), kind)
    cells = [comparison_report.figure_cells(row) for row in found.metrics]
    if cells:
        yield Rows(cells, _columns(comparison_report.FIGURES, letter))
    for line in comparison_report.notes(found):
        yield Words(_lettered(plain(line), letter), "note")
    if found.gate.differences:
        rows = [msgspec.to_builtins(each) for each in found.gate.differences]
        yield Rows(rows, _columns(comparison_report.DIFFERENCES, letter), "What differs")
    for line in found.gate.unknown:
        yield Words(f"not known, and so not compared: {line}", "note")


def _lettered(text: str, letter: str) -> str:
    """Of the third and later ones, a comparison speaks as of B."""
    return text if letter == "B" else f" {text}".replace(" B ", f" {letter} ").strip()


def _columns(columns: Sequence[Column], letter: str) -> list[Column]:
    """The columns of a comparison, with the letter of whoever is held against A."""
    return [
        replace(
            one,
            heading=one.heading.replace("B", letter) if one.heading in HELD else one.heading,
            field=one.field or one.heading,
        )
        for one in columns
    ]


HELD = ("B", "B − A", "B / A", "B ms", "B − A ms")


def layers_of(pairs: Sequence[LayerPair], letter: str) -> Iterator[Part]:
    """Layers that correspond, as a plot, and those that differ most as a table."""
    if not pairs:
        return
    from mlmodelscope import plots_comparison

    yield Plot(plots_comparison.layers_in_pairs(pairs), f"layers of A and {letter} in pairs")
    most = sorted(pairs, key=lambda pair: -abs(pair.difference_ns))[:MOST_LAYERS]
    shown = [pair for pair in pairs if pair in most]
    title = f"The {len(shown)} of {len(pairs)} that differ most, in their order"
    rows = [msgspec.to_builtins(pair) for pair in shown]
    yield Rows(rows, _columns(comparison_report.LAYERS, letter), title)
    a, b = (sum(getattr(pair, name) for pair in pairs) for name in ("a_ns", "b_ns"))
    matched = sum(bool(pair.by) for pair in pairs)
    text = f"all layers: A {ms(a)} ms, {letter} {ms(b)} ms (medians, summed)"
    yield Words(f"{matched} of {len(pairs)} places are on both sides; {text}", "note")


def _settings(sides: Sequence[Reported]) -> Iterator[Part]:
    """Every fact of each; what differs stands out."""
    letters = letters_of(len(sides))
    told: list[Mapping[str, Any]] = [
        {fact.name: fact for fact in facts_of_setting(side.facts)} for side in sides
    ]
    rows = []
    for name in dict.fromkeys(name for side in told for name in side):
        values = [side[name].value if name in side else "n/a: not told" for side in told]
        aspect = next(side[name].aspect for side in told if name in side)
        differs = len(set(values)) > 1
        row = {"about": aspect, "what": name, "differs": differs}
        texts = map(comparison_report.shown_value, values)
        rows.append(row | {f"of {at}": text for at, text in zip(letters, texts, strict=True)})
    columns = [Column("about"), Column("what")]
    columns += [Column(letter, f"of {letter}") for letter in letters]
    yield Rows(sorted(rows, key=lambda row: not row["differs"]), columns, mark="differs")
    yield Words("what differs comes first, and stands out", "note")


def _completeness(sides: Sequence[Reported], names: Sequence[str]) -> Iterator[Part]:
    for side, name in zip(sides, names, strict=True):
        yield Words(name)
        yield from completeness_of(side.result, side.timeline)


def _again(compared: Compared, names: Sequence[str]) -> Iterator[Part]:
    for side, name in zip(compared.sides, names, strict=True):
        yield Words(name)
        yield Code(reproduce.command(side.facts, side.result, side.manifest))
        for line in reproduce.remarks(side.facts, side.manifest):
            yield Words(line, "note")
    yield Words("This report, of the same evaluations:")
    yield Code(compared.command)
    for side in compared.sides:
        yield from report_one.manifest_of(side)
