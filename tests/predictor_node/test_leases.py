"""A device of one machine is had by one node at a time, on a real NATS."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from bus import subjects
from bus.connection import Bus
from bus.messages import DeviceHeld
from predictor_node.leases import Leases


async def of_node(bus: Bus, name: str, machine: str = "m", life: str = "1") -> Leases:
    leases = Leases((machine, name, life), Counter(), lambda: False)
    await leases.start(bus)
    return leases


async def test_two_nodes_of_one_machine_take_turns(bus: Bus) -> None:
    one, two, elsewhere = (
        await of_node(bus, "a"),
        await of_node(bus, "b"),
        await of_node(bus, "c", machine="other"),
    )
    inside, most, order = 0, 0, []

    async def measure(leases: Leases, name: str) -> None:
        nonlocal inside, most
        async with leases.held("cpu", f"job-{name}") as ours:
            assert ours
            inside += 1
            most = max(most, inside)
            order.append(name)
            await asyncio.sleep(0.1)
            inside -= 1

    await asyncio.gather(*(measure(one, "a") for _ in range(2)), measure(two, "b"))
    assert (most, sorted(order)) == (1, ["a", "a", "b"])
    async with one.held("cpu", "x"), elsewhere.held("cpu", "y"), two.held("gpu", "z"):
        pass  # another machine, and another device: nobody waits


async def test_a_device_is_had_again_whoever_had_it_meanwhile(bus: Bus) -> None:
    """The mark of the last time is where a node goes on from; another's turn makes it stale."""
    one, two = await of_node(bus, "a"), await of_node(bus, "b")
    bucket = await bus.bucket(subjects.LEASES_BUCKET)
    for leases in (one, one, two, one, two, two):
        async with leases.held("cpu", "j") as ours:
            found = await bucket.get("m.cpu")
            assert ours and found is not None
            assert found[0] == DeviceHeld(
                node_id="a" if leases is one else "b", incarnation="1", job_id="j"
            )
        assert await bucket.get("m.cpu") is None


async def test_nobody_waits_long_behind_one_who_always_has_work(bus: Bus) -> None:
    """Two nodes with work without end share the device about evenly."""
    turns: Counter[str] = Counter()
    until_s = time.monotonic() + 3.0

    async def work(name: str) -> None:
        leases = await of_node(bus, name)
        while time.monotonic() < until_s:
            async with leases.held("cpu", "j"):
                turns[name] += 1
                await asyncio.sleep(0.02)

    await asyncio.gather(work("a"), work("b"))
    assert min(turns.values()) > 0.25 * sum(turns.values()) > 2, turns


async def test_a_dead_nodes_device_is_free_after_its_heartbeat(bus: Bus) -> None:
    """Its lease expires: what that leaves in the bucket stands in nobody's way."""
    bucket = await bus.bucket(subjects.LEASES_BUCKET)
    await bucket.create("m.cpu", DeviceHeld(node_id="dead", incarnation="1", job_id="j"))
    began_s = time.monotonic()
    async with (await of_node(bus, "b")).held("cpu", "mine") as ours:
        assert ours and 3.0 < time.monotonic() - began_s < 12.0
        got = await bucket.get("m.cpu")
        assert got is not None and isinstance(got[0], DeviceHeld) and got[0].node_id == "b"
    assert await bucket.get("m.cpu") is None


async def test_a_nodes_next_life_takes_over_at_once(bus: Bus) -> None:
    bucket = await bus.bucket(subjects.LEASES_BUCKET)
    await bucket.create("m.cpu", DeviceHeld(node_id="b", incarnation="1", job_id="j"))
    began_s = time.monotonic()
    async with (await of_node(bus, "b", life="2")).held("cpu", "mine") as ours:
        assert ours and time.monotonic() - began_s < 2.0


async def test_a_stopping_node_waits_for_nothing(bus: Bus) -> None:
    bucket = await bus.bucket(subjects.LEASES_BUCKET)
    await bucket.create("m.cpu", DeviceHeld(node_id="a", incarnation="1", job_id="j"))
    leases = Leases(("m", "b", "1"), Counter(), lambda: True)
    await leases.start(bus)
    async with leases.held("cpu", "mine") as ours:
        assert not ours
