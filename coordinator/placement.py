"""Which of the fitting nodes: the one with least to do, then the largest, then the first by id."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from bus.messages import FrameworkSeen, Place
from coordinator.constraints import Fitting
from coordinator.provision import is_provisioned

MOST_PLACES = 20_000
"""In one answer: about 2 MB."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A node, and the framework on it that will run the job."""

    node_id: str
    framework: FrameworkSeen


def choose(
    fits: Iterable[Fitting], outstanding: Mapping[str, int], excluded: Collection[str] = ()
) -> Choice | None:
    """The node to take, or None where none fits; outstanding: jobs placed on each and not ended."""
    best: tuple[bool, int, int, str, FrameworkSeen] | None = None
    for found, framework in _fitting(fits):
        cores = found.example.cores
        node_id = _least_busy(found.nodes, outstanding, excluded)
        if node_id is None:
            continue
        # A node that has everything goes before one that must get it ready first.
        later = is_provisioned(framework.environment)
        rank = (later, outstanding.get(node_id, 0), -cores, node_id, framework)
        if best is None or rank[:4] < best[:4]:
            best = rank
    return None if best is None else Choice(best[3], best[4])


def _least_busy(
    nodes: Iterable[str], outstanding: Mapping[str, int], excluded: Collection[str]
) -> str | None:
    """The first by id of those with least to do; the nodes come in the order of their ids."""
    least: str | None = None
    for node_id in nodes:
        if node_id in excluded:
            continue
        load = outstanding.get(node_id, 0)
        if not load:
            return node_id  # nobody has less to do
        if least is None or load < outstanding.get(least, 0):
            least = node_id
    return least


def in_order(fits: Iterable[Fitting], outstanding: Mapping[str, int]) -> list[str]:
    """Every fitting node, the first choice first."""
    ranked = [
        (outstanding.get(node_id, 0), -found.example.cores, node_id)
        for found, _ in _fitting(fits)
        for node_id in found.nodes
    ]
    return [node_id for _, _, node_id in sorted(ranked)]


def places(fits: Iterable[Fitting], nodes: Iterable[str]) -> list[Place]:
    """Every way to run a model, up to MOST_PLACES: each build of each fitting node, nodes in the
    order given."""
    by_node: dict[str, dict[Place, None]] = {}
    for found, _ in _fitting(fits):
        for node_id in found.nodes:
            ways = by_node.setdefault(node_id, {})
            for build in found.fit.builds:
                place = Place(
                    node_id=node_id,
                    framework=build.name,
                    framework_version=build.version,
                    environment=build.environment,
                )
                ways[place] = None
    every = (place for node_id in nodes for place in by_node.get(node_id, ()))
    return list(islice(every, MOST_PLACES))


def _fitting(fits: Iterable[Fitting]) -> Iterator[tuple[Fitting, FrameworkSeen]]:
    for found in fits:
        if found.fit.framework is not None:
            yield found, found.fit.framework
