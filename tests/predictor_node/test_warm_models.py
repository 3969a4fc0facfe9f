"""Open models on one node: how many, for how long, and what their end looks like."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bus.connection import Bus
from bus.messages import (
    Close,
    Done,
    Input,
    ListNodes,
    Manifest,
    Opened,
    OpenHere,
    Predict,
    Predicted,
    PredictFailed,
    Refused,
    Undecodable,
)
from manifests.catalog import shipped
from predictor_node.assets import Assets
from predictor_node.leases import Leases
from predictor_node.process import Environment
from predictor_node.provision import Provision
from predictor_node.warm import Limits, Warm
from predictor_node.workers import Workers

(MANIFEST,) = [
    m for m in shipped() if (m.name, m.framework.name) == ("EfficientNet-Lite0", "onnxruntime")
]
COFFEE = MANIFEST.samples[0]
Eventually = Callable[..., Awaitable[None]]
MakeWarm = Callable[..., Awaitable[Warm]]


@pytest.fixture
async def make_warm(bus: Bus, wheels: Path, tmp_path: Path) -> AsyncIterator[MakeWarm]:
    """Makes a node's open models, with limits that a test can wait for."""
    made: list[Warm] = []

    provision = Provision("n1", {"default": Environment()}, tmp_path / "boxes")

    async def make(node_id: str = "n1", **limits: float) -> Warm:
        leases = Leases(("machine", node_id, "1"), Counter(), lambda: False)
        await leases.start(bus)
        warm = Warm(
            node_id=node_id,
            assets=Assets(wheels / "assets", bus),
            workers=Workers(provision, wheels / "assets"),
            device=asyncio.Lock(),
            leases=leases,
            folder=tmp_path / f"warm-{len(made)}",
            counters=Counter(),
            limits=Limits(**limits),  # type: ignore[arg-type]
        )
        warm.start()
        made.append(warm)
        return warm

    yield make
    for warm in made:
        await warm.stop()
        assert not warm.folder.exists()


async def opened(warm: Warm, threads: int = 1) -> str:
    settings: dict[str, str | int] = {"device": "cpu", "threads": threads}
    request = OpenHere(manifest=MANIFEST, framework="onnxruntime", settings=settings)
    answer = await warm.open(request)
    assert isinstance(answer, Opened), answer
    return answer.handle


def query(handle: str, timeout_s: float = 30.0) -> Predict:
    photo = Input(name="coffee.png", url=COFFEE.url, checksum=COFFEE.checksum)
    return Predict(handle=handle, inputs=[photo], top_k=1, timeout_s=timeout_s)


async def works(warm: Warm, handle: str) -> None:
    answer = await warm.predict(query(handle))
    assert isinstance(answer, Predicted), answer
    assert answer.predictions[0].classes[0].index == 967


async def fails(warm: Warm, handle: str, timeout_s: float = 30.0) -> PredictFailed:
    answer = await warm.predict(query(handle, timeout_s))
    assert isinstance(answer, PredictFailed), answer
    return answer


def worker_of(warm: Warm) -> int:
    pid = warm.status()[0]["worker"]
    assert isinstance(pid, int)
    return pid


async def test_the_least_recently_used_makes_room(make_warm: MakeWarm) -> None:
    warm = await make_warm(at_most=2)
    first, second = await opened(warm), await opened(warm)
    await works(warm, first)  # now the second is the one that was used least recently
    third = await opened(warm)
    gone = await fails(warm, second)
    assert (gone.kind, "to make room" in gone.text) == ("closed", True)
    await works(warm, first)
    await works(warm, third)
    assert len(warm.status()) == 2
    assert warm.counters["evicted"] == 1


async def test_an_idle_model_is_closed_and_its_worker_ended(
    make_warm: MakeWarm, eventually: Eventually
) -> None:
    warm = await make_warm(idle_s=1.5)
    handle = await opened(warm)
    pid = worker_of(warm)
    for _ in range(8):  # longer than idle_s, but never idle
        await asyncio.sleep(0.25)
        await works(warm, handle)
    await eventually(lambda: not warm.status())
    gone = await fails(warm, handle)
    assert (gone.kind, "1.5 s without use" in gone.text) == ("closed", True)
    await eventually(lambda: not Path(f"/proc/{pid}").exists())
    await works(warm, await opened(warm))


async def test_a_worker_that_hangs_is_ended(make_warm: MakeWarm) -> None:
    warm = await make_warm(answer_s=3.0)
    one, other = await opened(warm), await opened(warm, threads=2)
    os.kill(worker_of(warm), signal.SIGSTOP)
    for handle in (one, other):
        assert (await fails(warm, handle)).kind == "worker_died"
    await works(warm, await opened(warm))


async def test_the_device_is_shared_with_measurements(make_warm: MakeWarm) -> None:
    warm = await make_warm()
    handle = await opened(warm)
    async with warm.device:  # as a measured job holds it
        assert (await fails(warm, handle, timeout_s=0.05)).kind == "busy"
        late = OpenHere(manifest=MANIFEST, framework="onnxruntime", timeout_s=0.05)
        refused = await warm.open(late)
        assert isinstance(refused, Refused) and refused.kind == "busy"
        waiting = asyncio.create_task(warm.predict(query(handle)))
        wrong = await asyncio.wait_for(warm.predict(query("no such")), 1.0)
        assert isinstance(wrong, PredictFailed) and wrong.kind == "unknown_handle"
        closed = await asyncio.wait_for(warm.close(Close(handle=handle)), 1.0)
        assert closed == Done(text="closed")
        assert not waiting.done()
    answer = await waiting  # it was closed while it waited
    assert isinstance(answer, PredictFailed) and answer.kind == "closed"
    assert warm.counters["busy"] == 2


async def test_after_stop_everything_is_refused(make_warm: MakeWarm) -> None:
    warm = await make_warm()
    handle = await opened(warm)
    pid, asked = worker_of(warm), asyncio.create_task(warm.predict(query(handle)))
    await asyncio.sleep(0)
    await warm.stop()
    assert isinstance(await asked, Predicted)  # what was in hand is finished
    assert not Path(f"/proc/{pid}").exists()
    assert "stopping" in (await fails(warm, handle)).text


WRONG: dict[str, tuple[OpenHere, str, str]] = {
    "no such framework": (
        OpenHere(manifest=MANIFEST, framework="abacus"),
        "input",
        "no framework 'abacus'",
    ),
    "no such environment": (
        OpenHere(manifest=MANIFEST, framework="onnxruntime", environment="mars"),
        "framework",
        "no environment mars",
    ),
    "a misspelled setting": (
        OpenHere(manifest=MANIFEST, framework="onnxruntime", settings={"treads": 1}),
        "request",
        "did you mean threads",
    ),
    "no time": (
        OpenHere(manifest=MANIFEST, framework="onnxruntime", timeout_s=-1.0),
        "request",
        "timeout_s",
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_cannot_be_opened(make_warm: MakeWarm, case: str) -> None:
    request, kind, words = WRONG[case]
    warm = await make_warm()
    refused = await warm.open(request)
    assert isinstance(refused, Refused)
    assert refused.kind == kind and words in refused.text and "n1" in refused.text
    assert warm.status() == []


async def test_a_model_without_a_file(make_warm: MakeWarm) -> None:
    import msgspec

    bare: Manifest = msgspec.convert(
        {"name": "bare", "version": "1.0.0", "framework": {"name": "onnxruntime"}, "model": {}},
        Manifest,
    )
    refused = await (await make_warm()).open(OpenHere(manifest=bare, framework="onnxruntime"))
    assert isinstance(refused, Refused) and refused.kind == "asset"


async def test_other_messages_are_not_understood(make_warm: MakeWarm) -> None:
    for answer in (await make_warm()).endpoints().values():
        assert isinstance(await answer(ListNodes()), Undecodable)


async def test_a_query_waits_for_what_another_node_of_the_machine_measures(
    make_warm: MakeWarm, bus: Bus
) -> None:
    """It is told how long it waited; a patient measurement is never disturbed."""
    warm = await make_warm()
    handle = await opened(warm)
    other = Leases(("machine", "n2", "1"), Counter(), lambda: False)
    await other.start(bus)
    free = await warm.predict(query(handle))
    assert isinstance(free, Predicted) and free.waited_ns < 500_000_000
    async with other.held("cpu", "a job"):
        busy = await fails(warm, handle, timeout_s=0.3)
        assert (busy.kind, "machine of n1 was busy" in busy.text) == ("busy", True)
        waiting = asyncio.create_task(warm.predict(query(handle)))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        ended_s = time.monotonic()
    answer = await waiting
    assert isinstance(answer, Predicted) and answer.waited_ns >= 300_000_000
    assert time.monotonic() - ended_s < 3.0
    # The other way round: queries without end do not keep the device from a job.
    asked = 0

    async def keep_asking() -> None:
        nonlocal asked
        while True:
            await works(warm, handle)
            asked += 1

    asking = asyncio.create_task(keep_asking())
    try:
        while asked < 3:
            await asyncio.sleep(0.01)
        began_s = time.monotonic()
        async with other.held("cpu", "another job"):
            assert time.monotonic() - began_s < 2.0
            before = asked
            await asyncio.sleep(0.2)
            assert asked <= before + 1, "it predicted while another node had the device"
    finally:
        asking.cancel()
