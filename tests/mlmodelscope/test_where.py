"""That a command which is told to end does end."""

from __future__ import annotations

import asyncio

import pytest

from mlmodelscope import where


async def test_a_cancel_that_was_swallowed_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, "INSIST_S", 0.05)
    cancels = 0

    async def forgetful() -> int:
        nonlocal cancels
        while cancels < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancels += 1
        await asyncio.sleep(60)
        return 0

    running = asyncio.create_task(where.insisted(forgetful()))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 5.0)
    assert cancels == 2


async def test_an_answer_comes_through() -> None:
    async def work() -> int:
        return 3

    assert await where.insisted(work()) == 3
