"""python -m benchmarks.fleet_nodes BUS COUNT: simulated nodes that announce, beat and end jobs.

On the real bus, by the real messages; a job ends half a second after it came, unrun. Says `ready`
when every node is announced, and ends when its stdin does.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence

from bus import loop, subjects
from bus.connection import Bus
from bus.consumer import Received
from bus.messages import (
    Device,
    FrameworkSeen,
    Job,
    JobFinished,
    Message,
    NodeAlive,
    NodeAnnounced,
)

BEAT_S = 2.0
WORK_S = 0.5
KINDS = 40
"""How many kinds of machine a site has: what a request can ask for is alike within one."""
GIB = 2**30


def announcement(number: int) -> NodeAnnounced:
    """The number-th node of a site with a few kinds of machine."""
    kind = number % KINDS
    gpus = [Device(kind="gpu", name=f"GPU {kind % 4}", memory_bytes=(8 << kind % 4) * GIB)]
    return NodeAnnounced(
        node_id=f"node-{number:05}",
        incarnation=f"{number}-1",
        arch="amd64" if kind % 5 else "arm64",
        system="linux",
        cores=4 << kind % 5,
        memory_bytes=(16 << kind % 4) * GIB,
        devices=[Device(kind="cpu", name="cpu"), *(gpus if kind % 3 == 0 else [])],
        frameworks=[
            FrameworkSeen(
                name=name,
                version=f"{major}.{kind % 30}.0",
                devices=["cpu", *(["gpu"] if kind % 3 == 0 else [])],
                python="3.11.7",
            )
            for name, major in (("onnxruntime", 1), ("pytorch", 2), ("tensorflow", 2))
        ],
        cpu_features=["avx2"] if kind % 2 else ["avx2", "avx512"],
        labels={"site": f"s{kind % 2}"},
    )


async def simulate(url: str, count: int) -> None:
    """Announce, then beat and work until stdin ends."""
    bus = await Bus.connect(url, name="nodes")
    nodes = [announcement(number) for number in range(count)]
    # A put of a key is a publish on its subject: pipelined, as a fleet's own puts would come.
    await _put(bus, subjects.NODES_BUCKET, [(node.node_id, node) for node in nodes])
    beats = [
        (node.node_id, NodeAlive(node_id=node.node_id, incarnation=node.incarnation))
        for node in nodes
    ]
    await _put(bus, subjects.ALIVE_BUCKET, beats)
    working: set[asyncio.Task[None]] = set()

    async def take(batch: list[Received]) -> None:
        for received in batch:
            if isinstance(received.message, Job):
                task = asyncio.create_task(_work(bus, received.message))
                working.add(task)
                task.add_done_callback(working.discard)
            await received.ack()

    await bus.consume(subjects.JOBS_STREAM, "nodes", [subjects.JOBS], take, batch=64)
    beating = asyncio.create_task(_beat(bus, beats))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    beating.cancel()
    await bus.close()


async def _put(bus: Bus, bucket: str, messages: Sequence[tuple[str, Message]]) -> None:
    told = [
        await bus.record_soon(subjects.key_change(bucket, key), message)
        for key, message in messages
    ]
    await asyncio.gather(*told)


async def _beat(bus: Bus, beats: list[tuple[str, NodeAlive]]) -> None:
    """Every heartbeat once in BEAT_S, evenly."""
    slices = 20
    while True:
        for part in range(slices):
            began_s = time.monotonic()
            await _put(bus, subjects.ALIVE_BUCKET, beats[part::slices])
            await asyncio.sleep(max(0.0, BEAT_S / slices - (time.monotonic() - began_s)))


async def _work(bus: Bus, job: Job) -> None:
    await asyncio.sleep(WORK_S)
    fact = JobFinished(
        evaluation_id=job.evaluation_id,
        job_id=job.job_id,
        attempt=job.attempt,
        node_id=job.node_id,
        sequence=0,
        at_ns=time.time_ns(),
    )
    subject = subjects.fact(job.node_id, job.user, job.evaluation_id, "JobFinished")
    await bus.record(subject, fact)


if __name__ == "__main__":
    loop.run(simulate(sys.argv[1], int(sys.argv[2])))
