"""What waits with the coordinators, on a real NATS: order, bounds, several nodes, deaths."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from bus import subjects
from bus.codec import content_digest
from bus.connection import Bus
from bus.errors import RefusedError
from bus.messages import (
    Accepted,
    Cancel,
    Done,
    Evaluate,
    EvaluationFailed,
    EvaluationFinished,
    Fits,
    Fitting,
    JobRecord,
    ListNodes,
    ListQueue,
    Message,
    ModelRan,
    NodeRan,
    Nodes,
    Queue,
    Refused,
    Wanted,
)
from coordinator.coordinator import Coordinator, Settings
from mlmodelscope.client import Client
from mlmodelscope.evaluating import queued

Eventually = Callable[..., Awaitable[None]]
Request = Callable[..., Evaluate]
StartWith = Callable[..., Awaitable[Coordinator]]


@pytest.fixture
async def start_with(bus: Bus, bus_url: str) -> AsyncIterator[StartWith]:
    """Starts a coordinator with some settings of its own."""
    started: list[tuple[Coordinator, Bus]] = []

    async def start(**settings: Any) -> Coordinator:
        connection = await Bus.connect(bus_url, name="coordinator")
        made = Coordinator(connection, Settings(sweep_s=0.2, **settings))
        started.append((made, connection))
        await made.start()
        return made

    yield start
    for made, connection in started:
        await made.stop()
        await connection.close()


async def ask(bus: Bus, request: Evaluate) -> Accepted:
    return await bus.request(subjects.EVALUATE, request, Accepted)


async def there(coordinator: Coordinator, eventually: Eventually, *names: str) -> None:
    await eventually(lambda: coordinator.status()["nodes"] == list(names))


async def record_of(bus: Bus, job_id: str) -> JobRecord:
    got = await (await bus.bucket(subjects.JOBS_BUCKET)).get(job_id)
    assert got is not None and isinstance(got[0], JobRecord)
    return got[0]


async def run_next(node: Any, eventually: Eventually, done: int) -> str:
    """Run the job that came `done`-th, and say whose it was."""
    await eventually(lambda: len(node.jobs) > done)
    job = node.jobs[done]
    await node.claim(job)
    await node.finish(job)
    return str(job.user)


async def test_held_jobs_go_in_turn_and_their_places_are_told(
    bus: Bus, start_with: StartWith, player: Any, request_for: Request, eventually: Eventually
) -> None:
    one, two = await start_with(), await start_with()
    node = await player("n1")
    for coordinator in (one, two):
        await there(coordinator, eventually, "n1")
    asked = [request_for(user="ann") for _ in range(5)]
    asked += [request_for(user="ben"), request_for(user="cat", priority=5)]
    for request in asked:
        assert (await ask(bus, request)).jobs[0].node_id == "n1"
    await eventually(lambda: len(node.jobs) == 2)
    for coordinator in (one, two):
        await eventually(lambda c=coordinator: c.status()["held"] == {"n1": 5})
    queue = await bus.request(subjects.QUEUE, ListQueue(), Queue)
    assert [(job.user, job.position, job.of, job.held) for job in queue.jobs] == [
        ("ann", 1, 7, False),
        ("ann", 2, 7, False),
        ("cat", 3, 7, True),
        ("ben", 4, 7, True),
        *(("ann", place, 7, True) for place in (5, 6, 7)),
    ]
    own = ListQueue(evaluation_id=asked[5].evaluation_id)
    (job,) = (await bus.request(subjects.QUEUE, own, Queue)).jobs
    assert (job.user, job.position, job.of, job.model) == ("ben", 4, 7, "AlexNet")
    users = [await run_next(node, eventually, done) for done in range(7)]
    assert users == ["ann", "ann", "cat", "ben", "ann", "ann", "ann"]
    await eventually(lambda: one.status()["queues"] == {} and one.status()["held"] == {})
    assert len(node.jobs) == 7


async def test_what_waits_goes_to_a_node_that_comes(
    bus: Bus, start_with: StartWith, player: Any, request_for: Request, eventually: Eventually
) -> None:
    coordinator, _ = await start_with(), await player("n1")
    await there(coordinator, eventually, "n1")
    for _ in range(3):
        await ask(bus, request_for())
    pinned = request_for(wanted=Wanted(node="n1"))
    await ask(bus, pinned)
    await eventually(lambda: coordinator.status()["held"] == {"n1": 2})
    other = await player("n2")
    await eventually(lambda: other.jobs)
    (job,) = other.jobs
    assert (job.node_id, job.attempt) == ("n2", 1)
    record = await record_of(bus, job.job_id)
    assert (record.node_id, record.held, record.excluded) == ("n2", False, [])
    assert coordinator.status()["held"] == {"n1": 1}, "the pinned one stays"


async def test_a_dead_nodes_held_jobs_lose_no_attempt(
    bus: Bus, start_with: StartWith, player: Any, request_for: Request, eventually: Eventually
) -> None:
    coordinator = await start_with()
    node, spare = await player("n1", cores=64), await player("n2")
    await there(coordinator, eventually, "n1", "n2")
    requests = [request_for() for _ in range(6)]  # three each: one of each waits
    for request in requests:
        await ask(bus, request)
    await eventually(lambda: coordinator.status()["held"] == {"n1": 1, "n2": 1})
    await node.vanish()
    done = 0
    while done < 6:
        await run_next(spare, eventually, done)
        done += 1
    attempts = sorted(job.attempt for job in spare.jobs)
    assert attempts == [1, 1, 1, 1, 2, 2], "the two that lay in its queue are tried again"


async def test_a_cancelled_job_leaves_the_queue(
    bus: Bus, start_with: StartWith, player: Any, request_for: Request, eventually: Eventually
) -> None:
    coordinator, node = await start_with(ahead=1), await player("n1")
    await there(coordinator, eventually, "n1")
    first, second, third = (request_for() for _ in range(3))
    for request in (first, second, third):
        await ask(bus, request)
    await eventually(lambda: coordinator.status()["held"] == {"n1": 2})
    await bus.request(subjects.CANCEL, Cancel(evaluation_id=second.evaluation_id), Done)
    await eventually(lambda: coordinator.status()["held"] == {"n1": 1})
    await run_next(node, eventually, 0)
    await eventually(lambda: len(node.jobs) == 2)
    assert node.jobs[1].evaluation_id == third.evaluation_id


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        ({"queue_limit": 3}, "queue_full", "3 jobs have not ended, of 3 .*MLMS_QUEUE_LIMIT"),
        ({"user_limit": 3}, "user_limit", "ann has 3 jobs .* of 3 .*MLMS_USER_LIMIT"),
    ],
)
async def test_bounds(
    bus: Bus,
    start_with: StartWith,
    player: Any,
    request_for: Request,
    eventually: Eventually,
    settings: dict[str, int],
    kind: str,
    says: str,
) -> None:
    coordinator, _ = await start_with(**settings), await player("n1")
    await there(coordinator, eventually, "n1")
    first = request_for(user="ann")
    for request in (first, request_for(user="ann"), request_for(user="ann")):
        await ask(bus, request)
    refused = await bus.request(subjects.EVALUATE, request_for(user="ann"), Refused)
    assert refused.kind == kind
    assert re.search(says, refused.text), refused.text
    assert "wait for some to end" in refused.text
    assert (await ask(bus, first)).jobs, "what was accepted stays so"
    if kind == "user_limit":
        assert (await ask(bus, request_for(user="ben"))).jobs


async def test_many_at_once_are_spread(
    bus: Bus, start_with: StartWith, player: Any, request_for: Request, eventually: Eventually
) -> None:
    """Those that arrive in one instant know of each other before any is written."""
    coordinator = await start_with()
    for name in ("n1", "n2", "n3", "n4"):
        await player(name)
    await there(coordinator, eventually, "n1", "n2", "n3", "n4")
    answers = await asyncio.gather(*(ask(bus, request_for()) for _ in range(8)))
    nodes = sorted(answer.jobs[0].node_id for answer in answers)
    assert nodes == ["n1", "n1", "n2", "n2", "n3", "n3", "n4", "n4"]


async def test_a_job_on_each_of_several_nodes(
    bus: Bus, start_with: StartWith, player: Any, request_for: Request, eventually: Eventually
) -> None:
    coordinator = await start_with()
    nodes = [await player(name) for name in ("n1", "n2", "n3")]
    await there(coordinator, eventually, "n1", "n2", "n3")
    every = request_for(spread=0, wanted=Wanted(requires=["node!=n2"]))
    accepted = await ask(bus, every)
    assert [job.node_id for job in accepted.jobs] == ["n1", "n3"]
    assert [job.job_id[-2:] for job in accepted.jobs] == ["-0", "-1"]
    assert (await ask(bus, every)).jobs == accepted.jobs
    for node in (nodes[0], nodes[2]):
        await eventually(lambda n=node: n.jobs)
    await nodes[0].claim(nodes[0].jobs[0])
    await nodes[0].finish(nodes[0].jobs[0])
    await nodes[2].claim(nodes[2].jobs[0])
    await nodes[2].fail(nodes[2].jobs[0], "asset", "no such file")

    async def end() -> Any:
        facts = await bus.replay(subjects.FACTS_STREAM, subjects.facts_of(every.evaluation_id))
        ends = [f for f in facts if isinstance(f, EvaluationFailed | EvaluationFinished)]
        return ends[0] if ends else None

    await eventually(end)
    found = await end()
    assert isinstance(found, EvaluationFailed) and found.text == "no such file"
    assert [(job.node_id, job.state) for job in found.jobs] == [
        ("n1", "finished"),
        ("n3", "failed"),
    ]
    refused = await bus.request(subjects.EVALUATE, request_for(spread=4), Refused)
    assert refused.kind == "nothing_fits" and "4 nodes are wanted and 3 fit" in refused.text
    two = await ask(bus, request_for(spread=2, wanted=Wanted(prefer="least_loaded")))
    assert len({job.node_id for job in two.jobs}) == 2


async def test_placed_by_what_nodes_say_they_ran(
    bus: Bus, start_with: StartWith, player: Any, request_for: Request, eventually: Eventually
) -> None:
    await player("big", cores=64)
    await player("small")
    request = request_for(wanted=Wanted(prefer="fastest"))
    assert request.manifest is not None
    ran = ModelRan(
        model_digest=content_digest(request.manifest), framework="onnxruntime", ns_per_input=10**6
    )
    bucket = await bus.bucket(subjects.RAN_BUCKET)
    await bucket.put("small", NodeRan(node_id="small", models=[ran]))
    await bucket.put("big", NodeRan(node_id="small", models=[ran]))  # nobody speaks for another
    coordinator = await start_with()
    await there(coordinator, eventually, "big", "small")
    assert (await ask(bus, request)).jobs[0].node_id == "small"
    await bucket.put("big", NodeRan(node_id="big", models=[replace(ran, ns_per_input=10**3)]))

    async def fastest() -> bool:
        wanted = Fits(manifest=request.manifest, wanted=Wanted(prefer="fastest"))
        return (await bus.request(subjects.FITS, wanted, Fitting)).nodes == ["big", "small"]

    await eventually(fastest)


async def test_what_fits_without_a_model_and_pages_of_nodes(
    bus: Bus, start_with: StartWith, player: Any, eventually: Eventually
) -> None:
    coordinator = await start_with()
    for name, cores in (("n1", 4), ("n2", 16), ("n3", 64)):
        await player(name, cores=cores)
    await there(coordinator, eventually, "n1", "n2", "n3")
    wanted = Wanted(device="", requires=["cores>=16, memory>=64GiB"])
    fitting = await bus.request(subjects.FITS, Fits(wanted=wanted), Fitting)
    assert fitting.nodes == []
    assert [(m.nodes, len(m.failures)) for m in fitting.misfits] == [(["n2", "n3"], 1), (["n1"], 2)]
    wanted = Wanted(device="", requires=["cores>=16", "framework=onnxruntime@^1"])
    fitting = await bus.request(subjects.FITS, Fits(wanted=wanted), Fitting)
    assert fitting.nodes == ["n3", "n2"]
    bad = Fits(wanted=Wanted(requires=["core>=16"]))
    refused = await bus.request(subjects.FITS, bad, Refused)
    assert refused.kind == "bad_request" and "did you mean cores" in refused.text
    page = await bus.request(subjects.NODES, ListNodes(limit=2), Nodes)
    assert ([seen.node.node_id for seen in page.nodes], page.more) == (["n1", "n2"], True)
    page = await bus.request(subjects.NODES, ListNodes(after="n2", limit=2), Nodes)
    assert ([seen.node.node_id for seen in page.nodes], page.more) == (["n3"], False)


async def test_a_client_waits_for_a_node_and_is_told_its_place(
    bus: Bus, bus_url: str, start_with: StartWith, player: Any, request_for: Request
) -> None:
    await start_with(ahead=1)
    async with Client(bus_url, user="ann") as scope:
        with pytest.raises(RefusedError, match="no predictor node is alive"):
            await scope.submit(request_for(user="ann"), wait_s=0.3)
        asking = asyncio.create_task(scope.submit(request_for(user="ann"), wait_s=20.0))
        await asyncio.sleep(0.4)
        node = await player("n1")
        first = await asking
        second = await scope.submit(request_for(user="ann"))
        told: list[Message] = []

        async def listen() -> None:
            async for message in second:
                told.append(message)

        listening = asyncio.create_task(listen())
        while not any(isinstance(message, Queue) for message in told):
            await asyncio.sleep(0.05)
        (queue,) = (message for message in told if isinstance(message, Queue))
        assert queued(queue) == "queued: 2nd of 2 on n1"
        for done in (0, 1):
            while len(node.jobs) <= done:
                await asyncio.sleep(0.02)
            await node.claim(node.jobs[done])
            await node.finish(node.jobs[done], sequence=0)
        await listening
        assert isinstance(told[-1], EvaluationFinished)
        assert first.evaluation_id != second.evaluation_id
