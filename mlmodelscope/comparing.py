"""The command compare: stored evaluations held against each other, and what is printed of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from analysis.between_runs import Spread, spreads, wider
from analysis.comparison import METRICS, Comparison, Wanted, compare
from analysis.layer_matching import LayerPair, matched_layers
from analysis.layers import layer_times
from analysis.recording import recording_of
from analysis.two_timelines import both
from bus.errors import InputError, UnknownNameError
from bus.messages import GraphDescribed, JobFinished, JobStarted, Message, MetricsRecorded
from collector.timeline import Timeline
from mlmodelscope import comparison_report, timeline_file
from mlmodelscope.client import Client
from mlmodelscope.evaluating import progress_bar
from mlmodelscope.exits import NOT_COMPARABLE, OK, WORSE
from mlmodelscope.tables import print_csv, print_json

EARLIER = 100
"""Evaluations of the history that are looked at for how runs vary."""


@dataclass(frozen=True)
class Shown:
    """How a comparison is shown. layers: none, or all that both have; timeline: of both."""

    output: str
    layers: bool = True
    timeline: Path | None = None


@dataclass
class Stored:
    """An evaluation as it is compared."""

    evaluation_id: str
    facts: Sequence[Message]
    metrics: Sequence[MetricsRecorded]
    timeline: Timeline | None = None

    @property
    def has_layers(self) -> bool:
        """Whether a run of it looked at layers."""
        return any(f.spans.get("framework") for f in self.facts if isinstance(f, JobFinished))


async def compare_stored(client: Client, names: Sequence[str], wanted: Wanted, shown: Shown) -> int:
    """Hold every evaluation against the first; WORSE where one of them is, or NOT_COMPARABLE."""
    if len(names) < 2:
        raise InputError("expected two evaluations or more, or one and --baseline: compare A B")
    if shown.timeline is not None and len(names) != 2:
        raise InputError("--timeline shows two evaluations in one picture: name just two")
    target = timeline_file.target(shown.timeline) if shown.timeline is not None else None
    with progress_bar() as progress:
        task = progress.add_task("fetching", total=len(names))
        async with client:
            stored = []
            for name in names:
                stored.append(await fetched(client, name, shown))
                progress.advance(task)
            found = await against_first(client, stored, wanted)
    first, *others = stored
    layers = [layer_pairs(first, one) for one in others] if shown.layers else [[]] * len(others)
    if target is not None:
        timeline_file.write(_picture(*stored), target)
    _print(found, layers, shown)
    return exit_code(found)


async def against_first(
    client: Client, stored: Sequence[Stored], wanted: Wanted
) -> list[Comparison]:
    """Each of the others held against the first."""
    known = [await _spreads(client, one, stored) for one in stored]
    first, *others = stored
    return [
        compare(first.facts, other.facts, replace(wanted, between=wider(known[0], spread)))
        for other, spread in zip(others, known[1:], strict=True)
    ]


async def _spreads(client: Client, one: Stored, all: Sequence[Stored]) -> dict[int, Spread]:
    """How earlier runs of the same differ among themselves, by batch size."""
    started = next((fact for fact in one.facts if isinstance(fact, JobStarted)), None)
    if started is None:
        return {}
    rows = await client.history(model=started.model, state="finished", limit=EARLIER)
    return spreads(started, rows, [each.evaluation_id for each in all])


async def fetched(client: Client, name: str, shown: Shown) -> Stored:
    """A stored evaluation, and its timeline where that is needed."""
    evaluation_id, facts, metrics = await client.stored(name)
    stored = Stored(evaluation_id, facts, metrics)
    if shown.timeline is not None or (shown.layers and stored.has_layers):
        stored.timeline = await client.timeline(evaluation_id)
    return stored


def exit_code(found: Sequence[Comparison]) -> int:
    """WORSE where a comparison that may be drawn says so; NOT_COMPARABLE where none may."""
    told = [one for one in found if one.gate.comparable or one.forced]
    if any(one.worse for one in told):
        return WORSE
    return OK if len(told) == len(found) else NOT_COMPARABLE


def layer_pairs(one: Stored, two: Stored) -> list[LayerPair]:
    """The layers of two evaluations matched, where both looked at them."""
    if one.timeline is None or two.timeline is None:
        return []
    graphs = [
        next((f for f in side.facts if isinstance(f, GraphDescribed)), None) for side in (one, two)
    ]
    rows = [layer_times(one.timeline, graphs[0]), layer_times(two.timeline, graphs[1])]
    return matched_layers(rows[0], rows[1], graphs[0], graphs[1]) if all(rows) else []


def _picture(one: Stored, two: Stored) -> Any:
    assert one.timeline is not None and two.timeline is not None
    return both(
        recording_of(one.timeline, one.facts, one.metrics),
        recording_of(two.timeline, two.facts, two.metrics),
    )


def _print(
    found: Sequence[Comparison], layers: Sequence[Sequence[LayerPair]], shown: Shown
) -> None:
    if shown.output == "json":
        print_json(
            [
                {**msgspec.to_builtins(one), "layers": msgspec.to_builtins(pairs)}
                for one, pairs in zip(found, layers, strict=True)
            ]
        )
    elif shown.output == "csv":
        print_csv([row for one in found for row in comparison_report.flat(one)])
    else:
        for one, pairs in zip(found, layers, strict=True):
            comparison_report.print_comparison(one, pairs)
    if shown.timeline is not None:
        print(f"both timelines, B's first predict moved to A's: {shown.timeline}", file=sys.stderr)
    sys.stdout.flush()


# ---------------------------------------------------------------- what was typed


def read_metrics(given: Sequence[str]) -> tuple[str, ...]:
    """`--metric latency,p99`: names of METRICS; none means all."""
    names = [part.strip() for text in given for part in text.split(",") if part.strip()]
    for name in names:
        if name not in METRICS:
            raise UnknownNameError("--metric", name, METRICS)
    return tuple(dict.fromkeys(names)) or METRICS


def read_tolerance(text: str, option: str = "--tolerance") -> float:
    """`2%` or `0.02`: a part from 0 to below 1."""
    plain = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?\s*%?", plain):
        value = float(plain.rstrip("% ")) / (100 if plain.endswith("%") else 1)
        if value < 1:
            return value
    raise InputError(f"{option} {text!r}: expected a part like 2% or 0.02, below 100%")
