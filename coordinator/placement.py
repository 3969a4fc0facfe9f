"""Which of the fitting nodes: the one that will have it done first, or as the request prefers.

What a node will take is what waits for it, what the model took there before (else what it took
elsewhere), and fetching the model's files where they are not yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from heapq import nsmallest
from itertools import islice

from analysis.recommend import NEVER, price_per_hour, speed, typical
from bus.messages import FrameworkSeen, ModelRan, Place, Preference, Run
from coordinator.constraints import Fitting
from coordinator.provision import is_provisioned

MOST_PLACES = 20_000
"""In one answer: about 2 MB."""
NOMINAL_S = 1.0
"""A job of which nothing is known, and a fetch of which nothing is known."""
OVERHEAD_S = 0.1
"""What a job takes beside its predictions."""
Rank = tuple[float | int | str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A node, the framework on it that will run the job, and how long that is expected to take."""

    node_id: str
    framework: FrameworkSeen
    expected_s: float = 0.0


@dataclass(frozen=True)
class Outlook:
    """What is known when a node is chosen.

    backlog_s: what waits for each node. ran: of the model that is meant, by node: what it was like
    there. inputs: how many it will predict.
    """

    backlog_s: Mapping[str, float] = field(default_factory=dict)
    ran: Mapping[str, ModelRan] = field(default_factory=dict)
    inputs: int = 0
    prefer: Preference = ""

    def expected_s(self, node_id: str) -> float:
        """How long the job will take on a node once it has begun there."""
        if not self.ran:
            return NOMINAL_S
        seen = self.ran.get(node_id)
        each_ns = seen.ns_per_input if seen else self._typical_ns
        fetch_s = 0.0 if seen else self._fetch_s
        return OVERHEAD_S + fetch_s + self.inputs * each_ns / 1e9

    @cached_property
    def _typical_ns(self) -> float:
        return typical((one.ns_per_input for one in self.ran.values()), 0.0)

    @cached_property
    def _fetch_s(self) -> float:
        fetched = [one.fetch_ns / 1e9 for one in self.ran.values() if one.fetch_ns]
        return typical(fetched, NOMINAL_S)


UNKNOWING = Outlook()
"""Nothing waits, and nothing was run yet."""


def inputs_of(runs: Iterable[Run], otherwise: int) -> int:
    """How many inputs some runs predict; otherwise: of a dataset, whose size they do not know."""
    return sum((run.queries + run.warmup) * run.batch_size for run in runs) or otherwise


def choose(
    fits: Iterable[Fitting], outlook: Outlook = UNKNOWING, excluded: Collection[str] = ()
) -> Choice | None:
    """The node to take, or None where none fits."""
    return next(iter(choose_several(fits, 1, outlook, excluded)), None)


def choose_several(
    fits: Iterable[Fitting],
    count: int,
    outlook: Outlook = UNKNOWING,
    excluded: Collection[str] = (),
) -> list[Choice]:
    """The best nodes, up to `count` of them (0: every one), the best first."""
    ranked: dict[str, tuple[Rank, FrameworkSeen]] = {}
    for found, framework in _fitting(fits):
        price = _price(found)
        for node_id in _worth_ranking(found.nodes, count, outlook, excluded):
            # A node that has everything goes before one that must get it ready first.
            later = is_provisioned(framework.environment)
            rank = (later, *_rank(node_id, found.example.cores, price, outlook))
            if node_id not in ranked or rank < ranked[node_id][0]:
                ranked[node_id] = rank, framework
    ordered = sorted(ranked.items(), key=lambda item: item[1][0])
    return [
        Choice(node_id, framework, outlook.expected_s(node_id))
        for node_id, (_, framework) in (ordered[:count] if count else ordered)
    ]


def _worth_ranking(
    nodes: tuple[str, ...], count: int, outlook: Outlook, excluded: Collection[str]
) -> Iterable[str]:
    """Of nodes that are alike: the first that are idle and have nothing to tell them apart, and all
    that have. Where few ran the model and some are idle, that is few of ten thousand."""
    if not count:
        return (node_id for node_id in nodes if node_id not in excluded)
    plain: list[str] = []
    for node_id in nodes:
        if node_id in outlook.backlog_s or node_id in outlook.ran or node_id in excluded:
            continue
        plain.append(node_id)
        if len(plain) == count:
            break
    if len(plain) < count and not outlook.ran:
        # Alike in all but what waits for them.
        able = nodes if not excluded else [one for one in nodes if one not in excluded]
        return nsmallest(count, able, key=lambda one: outlook.backlog_s.get(one, 0.0))
    if len(plain) < count:
        return (node_id for node_id in nodes if node_id not in excluded)
    if not outlook.ran:
        return plain
    there = set(nodes)
    return [*plain, *(one for one in outlook.ran if one in there and one not in excluded)]


def _rank(node_id: str, cores: int, price: float, outlook: Outlook) -> Rank:
    """What makes a node better than another; the least is best."""
    waits_s = outlook.backlog_s.get(node_id, 0.0)
    done_s = waits_s + outlook.expected_s(node_id)
    match outlook.prefer:
        case "cheapest":
            first: float = price * outlook.expected_s(node_id)
        case "fastest":
            ran = outlook.ran.get(node_id)
            first = speed(ran.ns_per_input if ran else None)
        case "least_loaded":
            first = waits_s
        case _:
            first = 0.0
    return first, done_s, -cores, node_id


def _price(found: Fitting) -> float:
    """What an hour of these nodes costs, by their label; without one they come last."""
    price = price_per_hour(found.example.labels)
    return NEVER if price is None else price


def in_order(fits: Iterable[Fitting], outlook: Outlook = UNKNOWING) -> list[str]:
    """Every fitting node, the first choice first."""
    ranked = [
        _rank(node_id, found.example.cores, _price(found), outlook)
        for found in fits
        if not found.fit.failures
        for node_id in found.nodes
    ]
    return list(dict.fromkeys(str(rank[-1]) for rank in sorted(ranked)))


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
