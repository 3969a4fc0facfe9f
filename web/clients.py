"""The connections to the bus, one a visitor: whoever logs in asks under a name of their own.

Where nobody logs in, everyone is the web's own user. On a bus that is secured a visitor needs
credentials, which lie as NAME.json in a folder; without such a folder the web's own are used.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from contextvars import ContextVar
from pathlib import Path

from bus.errors import ForbiddenError, InputError
from bus.identity import NAME
from bus.subjects import token
from mlmodelscope.client import Client
from web.roles import Visitor

MOST = 256
NOW: ContextVar[Client | None] = ContextVar("client", default=None)
"""Of the request that is being answered: its visitor's."""


class Clients:
    """Each visitor's client, connected when first needed; the longest unused of many is closed."""

    def __init__(self, own: Client, *, logs_in: bool, credentials: str = "") -> None:
        self.own, self._logs_in = own, logs_in
        self._folder = Path(credentials).expanduser() if credentials else None
        if self._folder is not None and not self._folder.is_dir():
            raise InputError(f"credentials {self._folder}: expected a folder of NAME.json files")
        self._known: OrderedDict[str, Client] = OrderedDict()
        self._one = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def now(self) -> Client:
        """Of whoever is being answered."""
        return NOW.get() or self.own

    async def enter(self, visitor: Visitor) -> None:
        """From here on, in this task, `now` is this visitor's."""
        NOW.set(self.own)
        if self._logs_in and visitor.role:
            NOW.set(await self.named(bus_name(visitor.name)))

    async def named(self, name: str) -> Client:
        """The client of a user of the bus; ForbiddenError where the web has no credentials of it.

        Who shares the web's own credentials is the web's own user there.
        """
        if name == self.own.user or (self.own.secured and self._folder is None):
            return self.own
        if found := self._known.get(name):
            self._known.move_to_end(name)
            return found
        async with self._one:
            if name not in self._known:
                client = self.own.beside(name, self._credentials(name))
                await client.__aenter__()
                self._known[name] = client
            while len(self._known) > MOST:
                await self._known.popitem(last=False)[1].__aexit__(None, None, None)
        return self._known[name]

    def _credentials(self, name: str) -> Path | None:
        if not self.own.secured:
            return None
        assert self._folder is not None
        path = self._folder / f"{name}.json"
        if not path.is_file():
            text = f"the web has no credentials of {name} for the bus: expected {path.name} in the"
            raise ForbiddenError(f"{text} folder that MLMS_WEB_CREDENTIALS names")
        return path

    async def end(self) -> None:
        """Disconnect all but the web's own, which is its opener's to close."""
        for client in self._known.values():
            await client.__aexit__(None, None, None)
        self._known.clear()


def bus_name(name: str) -> str:
    """A visitor's name as the bus bears it; two names never become one."""
    if NAME.fullmatch(name):
        return name
    return f"{token(name)[:48]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
