"""What this node has run lately, told to the coordinators: how fast, and whose files are here."""

from __future__ import annotations

import logging
from statistics import median

from bus import subjects
from bus.buckets import Bucket
from bus.connection import Bus
from bus.errors import BusError
from bus.messages import LEVELS, ModelRan, NodeRan

log = logging.getLogger(__name__)

REMEMBERED = 64
"""Models that a node tells of; the ones that were run longest ago are left out."""
MODEL = LEVELS.index("model")


class Measured:
    """The calls of one job at its smallest batch, not looked at deeper than the model."""

    def __init__(self) -> None:
        self._batch_size, self._durations_ns = 0, list[int]()
        self.fetch_ns = 0

    def saw(self, frame: dict[str, object]) -> None:
        """A run was measured (or a part of a long one)."""
        batch_size, durations_ns = frame["batch_size"], frame["durations_ns"]
        deep = LEVELS.index(frame["level"]) > MODEL
        if deep or not isinstance(batch_size, int) or not isinstance(durations_ns, list):
            return
        if durations_ns and (not self._batch_size or batch_size < self._batch_size):
            self._batch_size, self._durations_ns = batch_size, durations_ns

    @property
    def ns_per_input(self) -> int:
        """The median call, an input; 0: nothing was measured."""
        if not self._durations_ns:
            return 0
        return round(median(self._durations_ns) / self._batch_size)


class Experience:
    """The node's key in the bucket mlms_ran."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._models: dict[str, ModelRan] = {}

    async def start(self, bus: Bus) -> None:
        """Go on from what a former life of this node has told."""
        self._bucket: Bucket = await bus.bucket(subjects.RAN_BUCKET)
        got = await self._bucket.get(self._node_id)
        if got is not None and isinstance(got[0], NodeRan):
            self._models = {ran.model_digest: ran for ran in got[0].models}

    async def ran(self, model_digest: str, framework: str, measured: Measured) -> None:
        """A job has finished: tell what it was like."""
        if not measured.ns_per_input:
            return
        before = self._models.pop(model_digest, None)
        self._models[model_digest] = ModelRan(
            model_digest=model_digest,
            framework=framework,
            ns_per_input=measured.ns_per_input,
            fetch_ns=measured.fetch_ns or (before.fetch_ns if before else 0),
        )
        while len(self._models) > REMEMBERED:
            del self._models[next(iter(self._models))]
        told = NodeRan(node_id=self._node_id, models=list(self._models.values()))
        try:
            await self._bucket.put(self._node_id, told)
        except BusError as exc:
            log.info("experience not told", extra={"error": str(exc)})  # with the next job's
