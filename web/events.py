"""Facts as server-sent events: each one JSON, its number the event's id, `end` after the last."""

from __future__ import annotations

import asyncio
import time

import msgspec
from aiohttp import web

from bus.errors import MLModelScopeError
from bus.messages import Message, NotFound
from web.problems import problem_of
from web.state import State

MEDIA = "text/event-stream"
SILENCE_S = 15.0
"""After so long a comment is sent, so that nothing between us takes the line for dead."""
STORED_S, LOOK_S = 5.0, 0.02
"""How long the last fact is waited for to be stored, and how often that is looked at."""


async def tell(state: State, request: web.Request, evaluation_id: str) -> web.StreamResponse:
    """Every fact from the one after Last-Event-ID on, as it is told, to the evaluation's end."""
    seen = request.headers.get("Last-Event-ID", "")
    after = int(seen) if seen.isdecimal() and len(seen) < 10 else -1
    facts = state.client.follow(evaluation_id).__aiter__()
    first = asyncio.ensure_future(anext(facts))
    try:
        # Whether there is such an evaluation is said by the status, before the stream begins.
        await asyncio.wait([first], timeout=1.0)
        if first.done() and first.exception() is not None:
            first.result()
        response = web.StreamResponse(headers={"Content-Type": MEDIA, "X-Accel-Buffering": "no"})
        await response.prepare(request)
        number = 0
        last: type[Message] = NotFound
        while True:
            await asyncio.wait([first], timeout=SILENCE_S)
            if not first.done():
                await response.write(b": waiting\n\n")
                continue
            try:
                fact = first.result()
            except StopAsyncIteration:
                await _until_stored(state, evaluation_id, last)
                await response.write(b"event: end\ndata: {}\n\n")
                return response
            except MLModelScopeError as exc:
                said = msgspec.json.encode(problem_of(exc).document())
                await response.write(b"event: problem\ndata: " + said + b"\n\n")
                return response
            if number > after:
                data = msgspec.json.encode(fact)
                head = f"id: {number}\nevent: {type(fact).__name__}\ndata: ".encode()
                await response.write(head + data + b"\n\n")
            number += 1
            last = type(fact)
            first = asyncio.ensure_future(anext(facts))
    finally:
        first.cancel()
        await asyncio.wait([first])
        await facts.aclose()  # type: ignore[attr-defined]


async def _until_stored(state: State, evaluation_id: str, last: type[Message]) -> None:
    """Who hears the end asks for the whole at once: it must not still seem to run."""
    deadline_s = time.monotonic() + STORED_S
    while time.monotonic() < deadline_s:
        try:
            _, facts, _ = await state.client.stored(evaluation_id)
        except MLModelScopeError:
            return  # it has been deleted, or nothing stores it: the page will say so
        if any(type(fact) is last for fact in facts):
            return
        await asyncio.sleep(LOOK_S)
