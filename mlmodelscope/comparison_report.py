"""A comparison as a person reads it: the verdict, the figures, what differs, layer beside layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich.markup import escape

from analysis.comparability import Gate
from analysis.comparison import Comparison, MetricRow, size_of_effect
from analysis.layer_matching import LayerPair
from analysis.resampling import Interval
from mlmodelscope.tables import Column, console, ms, shortened, table

FIGURES = [
    Column("figure"),
    Column("batch", right=True),
    Column("A", "a", right=True),
    Column("B", "b", right=True),
    Column("B − A", "difference", right=True),
    Column("B / A", "ratio", right=True),
    Column("95 % interval", "interval", right=True),
    Column("effect"),
    Column("verdict"),
]
DIFFERENCES = [
    Column("about", "aspect"),
    Column("what", "name"),
    Column("A", "a", lambda text: shown_value(text)),
    Column("B", "b", lambda text: shown_value(text)),
    Column("", "asked", lambda asked: "" if asked else "not asked about"),
]
LAYERS = [
    Column("A", "a", lambda names: _names(names)),
    Column("B", "b", lambda names: _names(names)),
    Column("A ms", "a_ns", ms, right=True),
    Column("B ms", "b_ns", ms, right=True),
    Column("B − A ms", "difference_ns", lambda x: f"{x / 1e6:+.3f}", right=True),
    Column("B / A", "ratio", lambda x: "–" if x is None else f"×{x:.2f}", right=True),
    Column("matched by", "by", lambda by: by or "one side only"),
]
SHOWN_LAYERS = 15


def print_comparison(found: Comparison, layers: Sequence[LayerPair]) -> None:
    """One comparison, B against A."""
    out = console()
    out.print(f"\n[bold]A[/] {escape(found.a)} · {found.evaluation_a[:8]}")
    out.print(f"[bold]B[/] {escape(found.b)} · {found.evaluation_b[:8]}")
    for line in headline(found):
        out.print(line)
    if found.metrics:
        out.print(table([figure_cells(row) for row in found.metrics], FIGURES))
    for line in notes(found):
        out.print(line)
    if found.gate.differences:
        rows = [msgspec.to_builtins(each) for each in found.gate.differences]
        out.print(table(rows, DIFFERENCES, "\nWhat differs"))
    if found.gate.unknown:
        names = ", ".join(each.partition(":")[0] for each in found.gate.unknown)
        out.print(f"not known, and so not compared: {escape(names)} (--output json says why)")
    print_layers(layers)


def headline(found: Comparison) -> Iterator[str]:
    """The one sentence that matters, or why there is none."""
    gate: Gate = found.gate
    if found.headline:
        colour = "red" if found.worse else "green"
        yield f"[bold {colour}]{escape(found.headline)}[/]"
    if found.forced:
        yield f"[bold yellow]forced[/]: {escape(gate.text)}"
    elif not gate.comparable:
        yield f"[bold yellow]no verdict[/]: {escape(gate.text)}"
        yield "measure again with these alike, or --force a verdict"
    else:
        yield escape(gate.text)


def flat(found: Comparison) -> list[dict[str, Any]]:
    """One line of CSV a figure."""
    lines = []
    for row in found.metrics:
        line: dict[str, Any] = {
            "evaluation_a": found.evaluation_a,
            "evaluation_b": found.evaluation_b,
        }
        plain = msgspec.to_builtins(row)
        line |= {k: v for k, v in plain.items() if k not in ("difference", "ratio", "between_runs")}
        for name in ("difference", "ratio"):
            known: Interval | None = getattr(row, name)
            for part in ("value", "low", "high"):
                line[f"{name}_{part}"] = getattr(known, part) if known is not None else None
        told = found.gate.comparable or found.forced
        lines.append({**line, "comparable": found.gate.comparable, "headline": told})
    if (judged := found.accuracy) is not None:
        empty = dict.fromkeys(lines[0]) if lines else {}
        lines.append(
            empty
            | {
                "evaluation_a": found.evaluation_a,
                "evaluation_b": found.evaluation_b,
                "metric": "accuracy",
                "a": judged.right_a / judged.items,
                "b": judged.right_b / judged.items,
                "difference_value": judged.difference.value,
                "difference_low": judged.difference.low,
                "difference_high": judged.difference.high,
                "verdict": judged.verdict,
                "comparable": found.gate.comparable,
            }
        )
    return lines


def print_layers(pairs: Sequence[LayerPair]) -> None:
    """The layers that differ most, whichever way, and what all of them make."""
    if not pairs:
        return
    out = console()
    most = sorted(pairs, key=lambda pair: -abs(pair.difference_ns))[:SHOWN_LAYERS]
    shown = [pair for pair in pairs if pair in most]
    title = f"\nLayers, the {len(shown)} of {len(pairs)} that differ most, in their order"
    out.print(table([msgspec.to_builtins(pair) for pair in shown], LAYERS, title))
    both = [pair for pair in pairs if pair.by]
    a, b = (sum(getattr(pair, name) for pair in pairs) for name in ("a_ns", "b_ns"))
    out.print(
        f"{len(both)} places are on both sides; all layers: A {ms(a)} ms, B {ms(b)} ms "
        "(medians, summed)"
    )


def figure_cells(row: MetricRow) -> dict[str, Any]:
    """One figure as a row of FIGURES."""
    found, unit = row.ratio, row.unit
    name = {"latency": "p50 ms", "p99": "p99 ms"}.get(row.metric, row.metric)
    return {
        "figure": name,
        "batch": str(row.batch_size or "unknown"),
        "a": _amount(row.a, unit),
        "b": _amount(row.b, unit),
        "difference": _amount(row.b - row.a, unit, sign=True),
        "ratio": f"×{row.b / row.a:.3f}" if row.a else "–",
        "interval": f"{found.low:.3f}–{found.high:.3f}" if found is not None else row.note,
        "effect": "" if row.effect is None else f"{row.effect:+.2f} {size_of_effect(row.effect)}",
        "verdict": f"{row.verdict} (within tolerance)" if row.within else row.verdict,
    }


def _amount(value: float, unit: str, sign: bool = False) -> str:
    if unit == "ns":
        return f"{value / 1e6:+.3f}" if sign else ms(value)
    return f"{value:+.1f}" if sign else f"{value:.1f}"


def notes(found: Comparison) -> Iterator[str]:
    """What must be said beside the figures, as rich markup."""
    yield (
        f"effect: Cliff's delta; a verdict needs the interval beyond ±{100 * found.tolerance:g} %"
    )
    known = {row.batch_size: row.between_runs for row in found.metrics if row.ratio is not None}
    for size, spread in known.items():
        at = f"batch {size}: " if size else ""
        if spread is None:
            yield f"{at}how runs vary among themselves is not known: it takes 5 earlier ones"
        else:
            text = f"{at}two runs of the same differ by up to {spread.percent:.1f} % "
            yield f"{text}({spread.runs} earlier ones): that is in the intervals"
    for note in dict.fromkeys(row.note for row in found.metrics if row.note and row.ratio):
        yield f"[yellow]{escape(note)}[/]"
    if (judged := found.accuracy) is not None:
        yield (
            f"right: A {judged.right_a}, B {judged.right_b} of {judged.items} labelled items; only "
            f"A {judged.only_a}, only B {judged.only_b}; p = {judged.p_value:.3g} (exact McNemar)"
        )
    if (told := found.answers) is not None:
        moved = told.probability_moved
        text = f"they say something else of {told.differing} of {told.inputs} inputs"
        yield text + (f"; a first probability moves by {moved:.2g} at most" if moved else "")
        for each in told.first[:3]:
            yield escape(f"  {each.input}: A says {each.a}, B says {each.b}")


def shown_value(text: str) -> str:
    """Of a digest its beginning; of others the first words."""
    return shortened(text, 19 if text.startswith("sha256:") else 40)


def _names(names: Sequence[str]) -> str:
    if len(names) <= 2:
        return " + ".join(shortened(name, 34) for name in names)
    return f"{shortened(names[0], 26)} … {shortened(names[-1], 26)} ({len(names)})"
