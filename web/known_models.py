"""The known models, remembered for a moment: every list of them is a megabyte on the bus."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from bus.messages import Manifest
from mlmodelscope.client import Client
from web.access import SAFE

FRESH_S, STALE_S = 2.0, 20.0
"""Until then what is remembered counts; until then it counts still, and is asked for again."""


class KnownModels:
    """What `Client.models` says. What is published through this server is seen at once."""

    KEY: web.AppKey[KnownModels]

    def __init__(self) -> None:
        self._known: list[Manifest] = []
        self._at_s = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._round = 0

    async def of(self, client: Client) -> list[Manifest]:
        """Every model that is listed, by name, newest version first."""
        age_s = time.monotonic() - self._at_s if self._at_s else STALE_S
        if age_s >= FRESH_S and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask(client, self._round))
            self._asking.add_done_callback(_noticed)
        if age_s >= STALE_S and self._asking is not None:
            await asyncio.shield(self._asking)
        return self._known

    async def _ask(self, client: Client, round_: int) -> None:
        self._known = (await client.models()).models
        if round_ == self._round:  # else something was published meanwhile
            self._at_s = time.monotonic()

    async def forget(self, request: web.Request, _: web.StreamResponse) -> None:
        """After whatever may have published or withdrawn something, ask again."""
        if request.method not in SAFE and ("/models" in request.path or "publish" in request.path):
            self._at_s, self._asking = 0.0, None
            self._round += 1


def _noticed(asking: asyncio.Task[None]) -> None:
    """Whoever waits for it hears what went wrong; where nobody does, the next one asks again."""
    if not asking.cancelled():
        asking.exception()


KnownModels.KEY = web.AppKey("known_models", KnownModels)
