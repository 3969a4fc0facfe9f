"""The peer of one evaluation: a process that sends every request back, and nothing else.

python -m benchmarks.echo BUS_URL      answers until its stdin is closed
"""

from __future__ import annotations

import asyncio
import sys

import nats
from nats.aio.msg import Msg

from bus import loop

SUBJECT = "one_evaluation.echo"


async def answer(bus_url: str) -> None:
    """Send each request back as it came."""
    bus = await nats.connect(bus_url)

    async def back(message: Msg) -> None:
        await message.respond(message.data)

    await bus.subscribe(SUBJECT, cb=back)
    await bus.flush()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await bus.close()


if __name__ == "__main__":
    loop.run(answer(*sys.argv[1:]))
