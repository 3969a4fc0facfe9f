"""A device of one machine is had by one node at a time, on a real NATS."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from bus import subjects
from bus.connection import Bus
from bus.messages import DeviceHeld
from predictor_node.leases import KEEP_S, Leases

Eventually = Callable[..., Awaitable[None]]


async def of_node(bus: Bus, name: str, machine: str = "m", life: str = "1") -> Leases:
    leases = Leases((machine, name, life), Counter(), lambda: False)
    await leases.start(bus)
    return leases


async def test_two_nodes_of_one_machine_take_turns(bus: Bus) -> None:
    one, two, three = [await of_node(bus, name) for name in "abc"]
    elsewhere = await of_node(bus, "d", machine="other")
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

    await asyncio.gather(measure(one, "a"), measure(two, "b"), measure(three, "c"))
    assert (most, sorted(order)) == (1, ["a", "b", "c"])
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
    for leases in (one, two):
        await leases.stop()
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


async def test_a_node_keeps_its_lease_for_a_moment_unless_another_waits(
    bus: Bus, eventually: Eventually
) -> None:
    bucket = await bus.bucket(subjects.LEASES_BUCKET)
    one, two = await of_node(bus, "a"), await of_node(bus, "b")
    async with one.held("cpu", "x"):
        first = await bucket.get("m.cpu")
    async with one.held("cpu", "y"), one.held("cpu", "z"):  # its own order is the node's affair
        assert await bucket.get("m.cpu") == first, "it was asked for again"
    began_s = time.monotonic()
    async with two.held("cpu", "w") as ours:
        assert ours and time.monotonic() - began_s < KEEP_S / 2, "it was kept from who waits"

    async def given_back() -> bool:
        return await bucket.get("m.cpu") is None

    await eventually(given_back, timeout_s=KEEP_S + 2)


async def test_who_waits_asks_once_a_second_and_not_all_the_time(bus: Bus) -> None:
    """What a failed compare-and-set would have written is heard by all, the one who tried too."""
    one, two = await of_node(bus, "a"), await of_node(bus, "b")

    async def wait() -> None:
        async with two.held("cpu", "y"):
            pass

    async with one.held("cpu", "x"):
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(1.5)
        assert 1 <= two._counters["lease_waits"] <= 3
    await waiting


async def test_who_gives_up_waiting_leaves_nothing_behind(bus: Bus) -> None:
    one, two = await of_node(bus, "a"), await of_node(bus, "b")

    async def once(leases: Leases) -> None:
        async with leases.held("cpu", "j"):
            pass

    async with one.held("cpu", "x"):
        for wait_s in (0.0005, 0.001, 0.002, 0.1):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(once(two), wait_s)
    await asyncio.wait_for(once(two), 2.0)
    for wait_s in (0.0001, 0.0003, 0.0005, 0.0008):  # in the middle of asking, when it is free
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(once(one), wait_s)
    await asyncio.wait_for(once(one), 2.0)
    await asyncio.wait_for(once(two), 2.0)


async def test_a_stopped_node_keeps_nothing(bus: Bus) -> None:
    bucket, leases = await bus.bucket(subjects.LEASES_BUCKET), await of_node(bus, "a")
    async with leases.held("cpu", "x"):
        pass
    await leases.stop()
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
