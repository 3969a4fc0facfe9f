"""What is still to be pushed of which evaluation, written down: no collector's death loses any.

An evaluation that was taken for pushing has the addresses that have not had it (`unsent`), and
until when a collector answers for it (`push_until`). While that collector lives it moves the time
on; when it has passed, any collector takes the evaluation over, and what was under way is sent
again, whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from collector.store import Store

Document = dict[str, Any]

HELD_S = 30.0
RENEW_S = 10.0
TAKEN_AT_ONCE = 100
NS = 1_000_000_000


class Marks:
    """The marks of one collector's deliveries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def claim(self, evaluation: Document, urls: Sequence[str]) -> bool:
        """Take an evaluation for these addresses; false where another collector was first."""
        what: Document = {"pushed": True}
        if urls:
            what |= {"unsent": list(urls), "push_until": _until()}
        whose = {"_id": evaluation["_id"], "pushed": {"$ne": True}}
        return await self._store.claim("evaluations", whose, {"$set": what})

    async def left_behind(self) -> list[tuple[Document, list[str]]]:
        """Evaluations that nobody answers for any more, each now ours, and where they are to go."""
        late = {"push_until": {"$lt": time.time_ns()}}
        taken = []
        for found in await self._store.find("evaluations", late, limit=TAKEN_AT_ONCE):
            same = {"_id": found["_id"], "push_until": found["push_until"]}
            if await self._store.claim("evaluations", same, {"$set": {"push_until": _until()}}):
                taken.append((found, list(found.get("unsent", []))))
        return taken

    async def renew(self, evaluation_ids: Iterable[str]) -> None:
        """We are still there."""
        what = {"$set": {"push_until": _until()}}
        await self._store.update(
            "evaluations",
            [({"_id": name, "push_until": {"$gt": 0}}, what, False) for name in evaluation_ids],
        )

    async def settle(self, evaluation_id: str, url: str) -> None:
        """An address has had it, or will not."""
        whose = {"_id": evaluation_id}
        done = ({**whose, "unsent": []}, {"$unset": {"push_until": "", "unsent": ""}}, False)
        await self._store.update("evaluations", [(whose, {"$pull": {"unsent": url}}, False), done])

    async def release(self, evaluation_id: str) -> None:
        """Any collector may take it over at once."""
        whose = {"_id": evaluation_id, "push_until": {"$gt": 0}}
        await self._store.update("evaluations", [(whose, {"$set": {"push_until": 1}}, False)])


def _until() -> int:
    return time.time_ns() + int(HELD_S * NS)
