"""What was measured of models: the fastest of each place, how right on which data, what is claimed.

All from rows of the history, which hold medians and counts of right answers, so that a page needs
no evaluation's facts.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from analysis.claims import ClaimRow, Measured, claims_against
from bus.claims import FRACTIONS, claims_of, plain_metric
from bus.messages import Claim, HistoryRow, ListHistory, Manifest
from mlmodelscope.client import Client

NEWEST = 500
"""Evaluations on labelled data that are looked at for a list of models."""
KEPT_S = 5.0
MOST_USERS = 256
IN_THE_HISTORY = ("top1", "latency")
"""Metrics that a row of the history tells; an evaluation's own page tells the others."""


@dataclass(frozen=True)
class Fastest:
    """The shortest median of one place and batch size; runs: of how many evaluations."""

    framework: str
    node: str
    batch_size: int
    median_ns: int
    evaluation: str
    runs: int

    @property
    def rate(self) -> float:
        """Inputs a second at that median."""
        return self.batch_size * 1e9 / self.median_ns


@dataclass(frozen=True)
class Judged:
    """How often a model's first answer was right on a dataset, in the evaluation of most items."""

    model: str
    dataset: str
    right: int
    labelled: int
    evaluation: str
    framework: str
    at_ns: int
    version: str = ""
    """Of the dataset."""

    @property
    def share(self) -> float:
        """Of 1."""
        return self.right / self.labelled


@dataclass(frozen=True)
class Accuracy:
    """One accuracy that is known of a model, as a part of 1."""

    metric: str
    value: float
    on: str
    measured: bool


def fastest(rows: Iterable[HistoryRow]) -> list[Fastest]:
    """The best of each framework's version, node and batch size, the highest rate first."""
    groups: dict[tuple[str, str, int], list[tuple[int, str]]] = {}
    for row in rows:
        if row.state != "finished" or row.origin != "measured" or row.dataset:
            continue
        framework = f"{row.framework} {row.framework_version}".strip()
        best: dict[int, int] = {}
        for run in row.runs:
            if run.batch_size and run.median_ns:
                known = best.get(run.batch_size, run.median_ns)
                best[run.batch_size] = min(known, run.median_ns)
        for size, median_ns in best.items():
            key = (framework, row.node_id, size)
            groups.setdefault(key, []).append((median_ns, row.evaluation_id))
    found = [
        Fastest(framework, node, size, *min(times), runs=len(times))
        for (framework, node, size), times in groups.items()
    ]
    return sorted(found, key=lambda one: -one.rate)


def judged(rows: Iterable[HistoryRow]) -> list[Judged]:
    """Of each model and dataset the evaluation of most items (of those the newest), best first."""
    best: dict[tuple[str, str], Judged] = {}
    for row in rows:  # newest first, so that an older one must have more items to win
        if row.state != "finished" or not row.labelled:
            continue
        one = Judged(
            model=row.model,
            dataset=row.dataset,
            right=row.right,
            labelled=row.labelled,
            evaluation=row.evaluation_id,
            framework=f"{row.framework} {row.framework_version}".strip(),
            at_ns=row.at_ns,
            version=row.dataset_version,
        )
        key = (row.model.casefold(), row.dataset.casefold())
        if key not in best or best[key].labelled < one.labelled:
            best[key] = one
    return sorted(best.values(), key=lambda one: -one.share)


def claimed(
    claims: Sequence[Claim], speeds: Sequence[Fastest], rights: Sequence[Judged]
) -> list[ClaimRow]:
    """Each claim beside the best that was measured here of the same."""
    measured = [
        Measured(metric="top1", value=one.share, on=one.dataset, version=one.version)
        for one in rights
    ]
    measured += [
        Measured(metric="latency", value=one.median_ns, batch_size=one.batch_size) for one in speeds
    ]
    rows = claims_against(claims, measured)
    told = "the pages of its evaluations tell" if rights or speeds else "not measured here"
    return [
        row
        if row.measured is not None or plain_metric(row.metric) in IN_THE_HISTORY
        else msgspec.structs.replace(row, why=told)
        for row in rows
    ]


def accuracies(
    manifest: Manifest, measured: dict[str, list[Judged]], by: str = ""
) -> list[Accuracy]:
    """What is known of a model's accuracy; by: measured or claimed alone."""
    found: list[Accuracy] = []
    if by != "claimed":
        rights = measured.get(manifest.name.casefold(), [])
        found += [Accuracy("top-1", one.share, one.dataset, True) for one in rights]
    if by != "measured":
        for claim in claims_of(manifest):
            if plain_metric(claim.metric) in FRACTIONS:
                value = claim.value / 100 if claim.unit == "%" else claim.value
                found.append(Accuracy(claim.metric, value, claim.on, False))
    return found


def main_accuracy(known: Iterable[Accuracy]) -> Accuracy | None:
    """The one that stands for a model: measured before claimed, top-5 last of all."""

    def order(one: Accuracy) -> tuple[bool, bool, float]:
        return (plain_metric(one.metric) == "top5", not one.measured, -one.value)

    return min(known, key=order, default=None)


class Lately:
    """The newest judgements of every model, asked for each user at most every five seconds."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, dict[str, list[Judged]]]] = OrderedDict()

    async def of(self, client: Client) -> dict[str, list[Judged]]:
        """Model's name without case -> its judgements, best first."""
        at_s, found = self._known.get(client.user, (-KEPT_S, {}))
        if time.monotonic() - at_s > KEPT_S:
            asked = ListHistory(dataset="*", state="finished", limit=NEWEST)
            page = await client.history_page(asked)
            found = {}
            for one in judged(page.rows):
                found.setdefault(one.model.casefold(), []).append(one)
            self._known[client.user] = time.monotonic(), found
            while len(self._known) > MOST_USERS:
                self._known.popitem(last=False)
        return found
