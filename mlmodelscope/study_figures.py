"""The figures of a study by name: each as an Answer, which tables, files and plots are made of."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.answers import Answer
from analysis.study import (
    latency_by_batch,
    normalised_latency,
    peak_throughput,
    throughput_by_system,
)
from analysis.study_layers import bounds, layers
from analysis.study_systems import Ran, Seen, cells, systems
from analysis.study_tradeoffs import accuracy_by_framework, tradeoffs
from bus.errors import UnknownNameError
from mlmodelscope.grid_run import Cell
from mlmodelscope.study_cells import Material, Places
from mlmodelscope.study_run import started_of

NAMES = (
    "peak-throughput",
    "latency-by-batch",
    "throughput-by-system",
    "normalised-latency",
    "accuracy",
    "tradeoffs",
    "bounds",
    "layers",
    "systems",
    "cells",
)


def chosen(what: str) -> list[str]:
    """Names with commas, or `all`; UnknownNameError for others."""
    if what.strip() == "all":
        return list(NAMES)
    wanted = [name.strip() for name in what.split(",") if name.strip()]
    for name in wanted:
        if name not in NAMES:
            raise UnknownNameError("figure", name, (*NAMES, "all"))
    return list(dict.fromkeys(wanted)) or list(NAMES)


def figures_of(material: Material) -> dict[str, Answer]:
    """Every figure of a study, in the order of NAMES."""
    points, level = material.points, material.done.study.trace
    ran = [*_ran(material)]
    found = (
        peak_throughput(points),
        latency_by_batch(points),
        throughput_by_system(points),
        normalised_latency(points, material.baseline),
        accuracy_by_framework(material.judged),
        tradeoffs(points, material.known),
        bounds(material.traces, level),
        layers(material.traces, level),
        systems([*_seen(material)], ran),
        cells(ran),
    )
    return {answer.name: answer for answer in found}


def _ran(material: Material) -> Iterator[Ran]:
    done, places = material.done, Places(material.done)
    parts: tuple[tuple[str, list[Cell]], ...] = (
        ("sweep", done.sweep),
        ("trace", done.traces),
        ("dataset", done.judged),
    )
    for part, found in parts:
        for cell in found:
            yield Ran(
                place=places.of(cell),
                part=part,
                batch_size=cell.wish.asked.batch_sizes[0],
                evaluation_id=cell.result.evaluation_id if cell.result else "",
                missing=cell.result.missing if cell.result and not cell.problem else (),
                problem=cell.problem,
            )


def _seen(material: Material) -> Iterator[Seen]:
    told = [told for cell in material.done.cells if (told := started_of(cell)) is not None]
    for name, node in material.nodes.items():
        here = [one.conditions for one in told if one.node_id == name and one.conditions]
        busiest = max(here, key=lambda one: one.load_1m, default=None)
        yield Seen(node=node, conditions=busiest, labels=material.labels.get(name, {}))
