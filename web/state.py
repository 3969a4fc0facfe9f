"""State: what the handlers share, and the evaluations that were asked for here."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from bus.errors import MLModelScopeError
from mlmodelscope.client import Client
from mlmodelscope.evaluation import Evaluation
from web.access import Access
from web.clients import Clients
from web.open_models import OpenModels
from web.partial_uploads import PartialUploads
from web.settings import Settings
from web.status import Status
from web.uploads import Uploads
from web.warm_models import WarmModels

REMEMBERED = 2_000
"""How many evaluations that were asked for here are known before they are stored."""


@dataclass
class State:
    """One web server: its client of the bus, and what it keeps itself."""

    clients: Clients
    settings: Settings
    access: Access
    uploads: Uploads
    partial: PartialUploads
    warm: WarmModels
    open: OpenModels
    status: Status = field(init=False)
    asked: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Evaluations that were asked for here, the latest last: of one nothing may be stored yet."""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.status = Status(self)

    @property
    def client(self) -> Client:
        """The bus as whoever is being answered may use it."""
        return self.clients.now

    KEY: ClassVar[web.AppKey[Any]] = web.AppKey("state", object)

    def begun(self, evaluation: Evaluation) -> None:
        """An evaluation that was asked for here: hear it to its end, so that it is told whole."""
        self.asked[evaluation.evaluation_id] = None
        while len(self.asked) > REMEMBERED:
            self.asked.popitem(last=False)
        self.later(_heard(evaluation))

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this beside the answer."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def end(self) -> None:
        """Leave nothing running."""
        for task in [*self.tasks]:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        await self.warm.end()
        await self.open.end()
        await self.clients.end()


async def _heard(evaluation: Evaluation) -> None:
    try:
        async for _ in evaluation:
            pass
    except MLModelScopeError:
        await evaluation.close()  # whoever looks at it is told by its own means
