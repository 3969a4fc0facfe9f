"""The known models, remembered for a moment: every list of them is a megabyte on the bus."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from aiohttp import web

from bus.messages import Manifest
from mlmodelscope.client import Client
from web.access import SAFE

FRESH_S, STALE_S = 2.0, 20.0
"""Until then what is remembered counts; until then it counts still, and is asked for again."""
MOST_USERS = 32


@dataclass
class _List:
    """What one user may see: private models are their owner's."""

    models: list[Manifest] = field(default_factory=list)
    at_s: float = -STALE_S
    asking: asyncio.Task[None] | None = None

    async def ask(self, client: Client) -> None:
        self.models = (await client.models()).models
        self.at_s = time.monotonic()


class KnownModels:
    """What `Client.models` says to each user. What this server publishes is seen at once."""

    KEY: web.AppKey[KnownModels]

    def __init__(self) -> None:
        self._lists: OrderedDict[str, _List] = OrderedDict()

    async def of(self, client: Client) -> list[Manifest]:
        """Every model that is listed for this user, by name, newest version first."""
        known = self._lists.setdefault(client.user, _List())
        self._lists.move_to_end(client.user)
        while len(self._lists) > MOST_USERS:
            self._lists.popitem(last=False)
        age_s = time.monotonic() - known.at_s
        if age_s >= FRESH_S and (known.asking is None or known.asking.done()):
            known.asking = asyncio.create_task(known.ask(client))
            known.asking.add_done_callback(_noticed)
        if age_s >= STALE_S and known.asking is not None:
            await asyncio.shield(known.asking)
        return known.models

    async def forget(self, request: web.Request, _: web.StreamResponse) -> None:
        """After whatever may have published or withdrawn something, ask again."""
        if request.method not in SAFE and ("/models" in request.path or "publish" in request.path):
            self._lists.clear()


def _noticed(asking: asyncio.Task[None]) -> None:
    """Whoever waits for it hears what went wrong; where nobody does, the next one asks again."""
    if not asking.cancelled():
        asking.exception()


KnownModels.KEY = web.AppKey("known_models", KnownModels)
