"""Has a model held open: chooses the node as for an evaluation, and asks it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError, NoAnswerError
from bus.messages import Manifest, Open, Opened, OpenHere, Refused
from coordinator.admission import settings_of, settle
from coordinator.placement import Choice
from coordinator.ran import Outlooks
from coordinator.registry import Registry
from manifests.catalog import Catalog

log = logging.getLogger(__name__)

LONGEST_S = 3600.0
LOOK_S = 0.5
MARGIN_S = 5.0
"""Beyond the request's own timeout: the node itself says when that has passed."""


async def open_model(
    request: Open,
    bus: Bus,
    catalog: Catalog,
    registry: Registry,
    outlooks: Outlooks,
) -> Opened | Refused:
    """What the chosen node says; a node that is no longer there is passed over for the next."""
    if not 0 < request.timeout_s <= LONGEST_S:
        text = f"timeout_s: expected seconds above 0, up to {LONGEST_S:g} (got {request.timeout_s})"
        return Refused(kind="bad_request", text=text)
    gone: list[str] = []
    while True:
        found = settle(request, catalog, registry, outlooks, gone)
        if isinstance(found, Refused):
            return _nobody_answered(gone) if gone else found
        manifest, (choice, *_) = found
        asking = bus.request(
            subjects.open_on(choice.node_id),
            _to_node(request, manifest, choice),
            Opened,
            Refused,
            timeout_s=request.timeout_s + MARGIN_S,
        )
        try:
            return await _while_alive(asking, registry, choice.node_id)
        except NoAnswerError as exc:
            log.info("node does not answer", extra={"node_id": choice.node_id, "error": str(exc)})
            gone.append(choice.node_id)
            if exc.timeout_s:  # it is there, and too slow: another one would come too late
                return _nobody_answered(gone)
        except BusError as exc:
            return Refused(kind="node_lost", text=f"node {choice.node_id}: {exc}")


async def _while_alive(
    asking: Coroutine[Any, Any, Opened | Refused], registry: Registry, node_id: str
) -> Opened | Refused:
    """The node's answer; NoAnswerError as soon as it is known that this life of it has ended."""
    node = registry.get(node_id)
    task = asyncio.create_task(asking)
    try:
        while not (await asyncio.wait([task], timeout=LOOK_S))[0]:
            now = registry.get(node_id)
            if now is None or node is None or now.incarnation != node.incarnation:
                raise NoAnswerError(subjects.open_on(node_id), 0.0, f"node {node_id} has died")
        return task.result()
    finally:
        task.cancel()


def _to_node(request: Open, manifest: Manifest, choice: Choice) -> OpenHere:
    return OpenHere(
        user=request.user,
        manifest=manifest,
        framework=choice.framework.name,
        environment=choice.framework.environment,
        settings=settings_of(request),
        timeout_s=request.timeout_s,
    )


def _nobody_answered(nodes: list[str]) -> Refused:
    text = f"{', '.join(nodes)} fits and does not answer: ask again in a few seconds"
    return Refused(kind="node_lost", text=text)
