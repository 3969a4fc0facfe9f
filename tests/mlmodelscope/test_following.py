"""Following an evaluation that has begun: its facts come in the order in which they were told."""

from __future__ import annotations

import asyncio

from bus import subjects
from bus.codec import encode
from bus.connection import Bus
from bus.errors import NotStoredError
from bus.examples import EXAMPLES
from bus.messages import Facts, JobStarted, Message, ModelOpened
from mlmodelscope.following import Following

USER = "ann"


async def unknown(evaluation_id: str) -> list[Message]:
    raise NotStoredError(evaluation_id)


async def test_what_is_told_while_it_catches_up_comes_after_what_was_told_before(bus: Bus) -> None:
    before, meanwhile = EXAMPLES[JobStarted], EXAMPLES[ModelOpened]
    assert isinstance(before, JobStarted) and isinstance(meanwhile, ModelOpened)
    subject = subjects.fact(meanwhile.node_id, USER, meanwhile.evaluation_id, "model_opened")

    async def told(_: Message) -> Message:
        await bus.publish(subject, meanwhile)
        await asyncio.sleep(0.2)  # it has been heard before the answer is
        return Facts(facts=[encode(before), encode(meanwhile)])

    await bus.serve("coordinator", {subjects.TOLD: told})
    heard = Following(bus, before.evaluation_id, USER, unknown).__aiter__()
    kinds = [type(await anext(heard)).__name__ for _ in range(2)]
    await heard.aclose()  # type: ignore[attr-defined]
    assert kinds == ["JobStarted", "ModelOpened"]
