"""Keeps the embedded servers at work: one that ended, or that stores no more, is started again.

A nats-server whose disk was full refuses to write that stream until it is started anew; its health
says so. mongod ends itself. Both find their data, their port, and their clients, which wait.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlmodelscope import servers

log = logging.getLogger(__name__)

LOOK_S = 1.0
PAUSE_S = 5.0
"""Between two starts: what stood against it, a full disk say, may still be there."""
WRITE_ERROR = "write error"


@dataclass
class Kept:
    """A server: how to start it where it was, and why it must be although it runs, if it must."""

    name: str
    process: subprocess.Popen[bytes]
    again: Callable[[], subprocess.Popen[bytes]]
    unwell: Callable[[], str] = lambda: ""
    started_s: float = 0.0


async def keep(kept: Sequence[Kept]) -> None:
    """Look after them until cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        for one in kept:
            if time.monotonic() - one.started_s < PAUSE_S:
                continue
            why = await _ill(one)
            if not why:
                continue
            log.warning("%s is started again: %s", one.name, why)
            if one.process.poll() is None:
                await asyncio.to_thread(servers.stop, one.process)
            # Not in a thread: the server ends with the thread that started it.
            one.process, one.started_s = one.again(), time.monotonic()


async def _ill(one: Kept) -> str:
    code = one.process.poll()
    if code is not None:
        return f"it ended with code {code}"
    return await asyncio.to_thread(one.unwell)


def nats_unwell(monitor_url: str) -> str:
    """Why a nats-server stores no more, by its own word; no word is no reason."""
    # Not above: every command imports this file, and the supervisor alone needs it.
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"{monitor_url}/healthz", timeout=5):
            return ""
    except urllib.error.HTTPError as exc:
        with exc:
            said = exc.read(1000).decode(errors="replace")
        return said if WRITE_ERROR in said else ""
    except (OSError, ValueError):
        return ""
