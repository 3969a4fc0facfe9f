"""Which system a command talks to, and the command run with a client of it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from mlmodelscope.exits import guarded
from mlmodelscope.places import home_folder

if TYPE_CHECKING:
    from mlmodelscope.client import Client

ENDING = (signal.SIGTERM, signal.SIGHUP)
INSIST_S = 5.0
"""Longer than the clearing up after a cancelled command takes."""
WHERE = Group("Which system", sort_key=90)


@Parameter(name="*", group=WHERE)
@dataclass(frozen=True)
class Where:
    """The system that a command talks to."""

    bus: Annotated[str, Parameter(env_var="MLMS_BUS_URL")] = ""
    """NATS URL of a running system. Without it, the embedded one of your data folder is used
    (MLMS_HOME): started if need be, joined if it runs."""
    credentials: Annotated[str, Parameter(env_var="MLMS_CREDENTIALS")] = ""
    """The credentials file of a user of a secured bus (docs/security.md)."""
    user: Annotated[str, Parameter(env_var="MLMS_USER")] = ""
    """Whose evaluations these are. Default: your login name."""


DEFAULT = Where()
"""What the environment says, else the embedded system."""


def run(command: Callable[[Client], Coroutine[Any, Any, int]], where: Where) -> int:
    """Run a command with a client of the system that it is about."""

    def with_client() -> int:
        for number in ENDING:
            # A closed terminal too must not leave a job running: all end like Ctrl-C. What is
            # ignored (nohup) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _interrupt)
        # The embedded system starts while this process imports what a client needs.
        with ExitStack() as stack:
            membership = None
            if not where.bus:
                from mlmodelscope.embedded import Membership

                membership = Membership(home_folder(os.environ))
                stack.callback(membership.leave)
            from bus import loop
            from mlmodelscope.client import Client

            client = Client(
                where.bus, user=where.user, credentials=where.credentials, membership=membership
            )
            try:
                return loop.run(insisted(command(client)))
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None

    return guarded(with_client)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


async def insisted(work: Coroutine[Any, Any, int]) -> int:
    """Run to the end; when cancelled, again and again: in Python 3.11 a wait_for whose answer
    arrives just then forgets that it was cancelled, and the libraries below us use it."""
    task, running = asyncio.create_task(work), asyncio.current_task()
    assert running is not None
    for number in ENDING:
        if signal.getsignal(number) is _interrupt:
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=INSIST_S)
        raise
