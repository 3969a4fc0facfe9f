"""Answers about what there is: nodes, what fits them, the queue, models, datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bus.errors import MLModelScopeError
from bus.messages import (
    Datasets,
    Fits,
    Fitting,
    ListDatasets,
    ListModels,
    ListNodes,
    ListQueue,
    Models,
    Nodes,
    NodeSeen,
    Queue,
    Refused,
)
from coordinator.admission import candidates, faults_of_wanted, no_nodes
from coordinator.board import Board
from coordinator.constraints import misfits, survey
from coordinator.placement import in_order, places
from coordinator.queue import listed
from coordinator.ran import Outlooks, Ran
from coordinator.registry import Registry
from manifests.catalog import Catalog, not_runnable
from manifests.datasets import Datasets as Known

MOST_NODES = 1000
"""In one answer."""


@dataclass(frozen=True)
class Answers:
    """What a coordinator sees, and how much more than another a user may have."""

    registry: Registry
    board: Board
    ran: Ran
    catalog: Catalog
    known: Known
    shares: Mapping[str, float]

    def fits(self, request: Fits) -> Fitting | Refused:
        """Which nodes would run this, or have what is wanted, and why the others would not."""
        if problem := faults_of_wanted(request.wanted):
            return Refused(kind="bad_request", text=problem)
        anything = request.manifest is None and not request.model
        found = [None] if anything else candidates(request, self.catalog)
        if isinstance(found, Refused):
            return found
        if not len(self.registry):
            return no_nodes(request)
        surveys = [survey(m, request.wanted, self.registry.kinds()) for m in found]
        together = [one for surveyed in surveys for one in surveyed]
        outlook = Outlooks(self.board.backlog_s, self.ran).of(found[0], None)
        nodes = in_order(together, replace(outlook, prefer=request.wanted.prefer))
        return Fitting(nodes=nodes, misfits=misfits(together), places=places(together, nodes))

    def nodes(self, request: ListNodes) -> Nodes:
        """A page of the nodes that are alive."""
        most = min(request.limit or MOST_NODES, MOST_NODES)
        page = self.registry.alive(after=request.after, limit=most + 1)
        load = self.board.outstanding
        return Nodes(
            nodes=[NodeSeen(node=node, outstanding=load[node.node_id]) for node in page[:most]],
            more=len(page) > most,
        )

    def queue(self, request: ListQueue) -> Queue:
        """What runs and what waits."""
        return listed(request, self.board, self.shares)

    def models(self, request: ListModels) -> Models:
        """The models that are known, to who asks."""
        catalog = self.catalog
        try:
            found = (
                catalog.versions(request.model, request.user)
                if request.model
                else [m for m in catalog.all(request.user) if request.hidden or not m.hidden]
            )
        except MLModelScopeError:
            found = []
        why = {f"{m.name}@{m.version}": text for m in found if (text := not_runnable(m))}
        return Models(models=found, not_runnable=why)

    def datasets(self, request: ListDatasets) -> Datasets:
        """The datasets that are known, to who asks."""
        try:
            found = (
                self.known.versions(request.dataset, request.user)
                if request.dataset
                else [dataset for dataset in self.known.all(request.user) if not dataset.hidden]
            )
        except MLModelScopeError:
            found = []
        return Datasets(datasets=found)
