"""What each node has run lately, as the bucket mlms_ran tells: how fast models are where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bus import subjects
from bus.buckets import Watch
from bus.codec import content_digest
from bus.connection import Bus
from bus.messages import Evaluate, Manifest, Message, ModelRan, NodeRan, Open
from coordinator.jobs import plan_runs
from coordinator.placement import Outlook, inputs_of

ITEMS = 1000
"""How many items a dataset is taken to have, where nobody says."""


class Ran:
    """By model, then by node."""

    def __init__(self) -> None:
        self.by_model: dict[str, dict[str, ModelRan]] = {}
        self._of_node: dict[str, list[str]] = {}

    async def start(self, bus: Bus) -> None:
        """Read what there is, and follow it."""
        bucket = await bus.bucket(subjects.RAN_BUCKET)
        self._watch: Watch = await bucket.watch(self.saw)

    async def stop(self) -> None:
        """Follow no more."""
        await self._watch.stop()

    def saw(self, node_id: str, message: Message | None, _: int = 0) -> None:
        """A node says what it has run; None: nothing is known of it any more."""
        for digest in self._of_node.pop(node_id, []):
            self.by_model[digest].pop(node_id, None)
            if not self.by_model[digest]:
                del self.by_model[digest]
        if isinstance(message, NodeRan) and message.node_id == node_id:
            for ran in message.models:
                self.by_model.setdefault(ran.model_digest, {})[node_id] = ran
            self._of_node[node_id] = [ran.model_digest for ran in message.models]

    def of(self, manifest: Manifest) -> Mapping[str, ModelRan]:
        """Where a model was run, and what it was like there."""
        return self.by_model.get(content_digest(manifest), {}) if self.by_model else {}


@dataclass(frozen=True)
class Outlooks:
    """What placing goes by: what waits for each node, and what each has run."""

    backlog_s: Mapping[str, float] = field(default_factory=dict)
    ran: Ran = field(default_factory=Ran)

    def of(self, manifest: Manifest | None, request: Evaluate | Open | None) -> Outlook:
        """The outlook for one request and the model that it means."""
        return Outlook(
            backlog_s=self.backlog_s,
            ran=self.ran.of(manifest) if manifest is not None else {},
            inputs=_inputs(request) if isinstance(request, Evaluate) else 0,
            prefer=request.wanted.prefer if request is not None else "",
        )


def _inputs(request: Evaluate) -> int:
    listed = request.dataset_manifest
    return inputs_of(
        plan_runs(request), request.limit or (listed.select.count if listed else 0) or ITEMS
    )
