"""The workers that measured jobs use: one an environment, warm from one job to the next."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bus.messages import Job
from predictor_node.assets import AssetsInUse
from predictor_node.container_files import visible
from predictor_node.container_settings import limits_of
from predictor_node.downloads import Told
from predictor_node.launching import Limits
from predictor_node.process import Environment, Worker
from predictor_node.provision import Provision

MOST_MADE = 2
"""Workers of environments made on demand that stay warm: each holds a framework in memory."""


@dataclass
class Workers:
    """A node's workers by the names of their environments."""

    provision: Provision
    cache: Path
    """The folder of the asset cache."""
    _workers: OrderedDict[str, Worker] = field(default_factory=OrderedDict)

    def __getitem__(self, environment: str) -> Worker:
        """The worker of an environment that has one."""
        return self._workers[environment]

    def own(self, environment: str) -> Worker:
        """The worker of one of the node's own environments; whoever uses it starts it."""
        return self._get(self.provision.own[environment])

    async def of(self, job: Job, assets: AssetsInUse, told: Told) -> Worker:
        """The worker for a job, once its environment is ready; whoever uses it starts it."""
        named = job.environment
        environment = await self.provision.environment(named, job.manifest, assets, told)
        worker = self._workers.get(environment.name)
        if worker is not None and worker.environment is not environment:
            await worker.stop()  # of an image, or a folder, that has gone meanwhile
            del self._workers[environment.name]
        worker = self._get(environment)
        await self._keep_few()
        return worker

    def limits_of(self, settings: Mapping[str, str | int]) -> Limits:
        """What a job's container may use here."""
        return limits_of(settings, self.provision.allowed)

    def visible(self, paths: Iterable[str]) -> tuple[str, ...]:
        """What a container must see so that it can read these files."""
        return visible([*paths], self.cache)

    def pids(self) -> dict[str, int]:
        """The process of each."""
        return {name: worker.pid for name, worker in self._workers.items()}

    async def stop(self) -> None:
        """End them all."""
        await asyncio.gather(*(worker.stop() for worker in self._workers.values()))

    def _get(self, environment: Environment) -> Worker:
        worker = self._workers.setdefault(environment.name, Worker(environment))
        self._workers.move_to_end(environment.name)
        return worker

    async def _keep_few(self) -> None:
        made = [name for name in self._workers if name not in self.provision.own]
        for name in made[:-MOST_MADE]:
            await self._workers.pop(name).stop()
