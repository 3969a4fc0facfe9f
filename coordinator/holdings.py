"""What users hold: inputs of evaluations that have not ended, and what is stored of the others."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bus import subjects
from bus.buckets import Watch
from bus.connection import Bus
from bus.holding import Most
from bus.messages import Evaluate, EvaluationRecord, Input, Message, Refused, Usage

REPO = "repo://"
REMEMBERED = 10_000
"""Objects whose size is known without asking: their names are made of their content."""


@dataclass(slots=True)
class _Of:
    """One user's inputs: what travels inside requests, and how many evaluations need an object."""

    inside_bytes: int = 0
    needed: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, int] = field(default_factory=dict)


class InputsHeld:
    """The inputs of evaluations that have not ended, by user; an object counts once for each."""

    def __init__(self) -> None:
        self._users: dict[str, _Of] = {}
        self._evaluations: dict[str, EvaluationRecord] = {}

    def took(self, record: EvaluationRecord) -> None:
        """An evaluation is there; twice is harmless."""
        request = record.request
        if request.evaluation_id in self._evaluations or not request.inputs:
            return
        self._evaluations[request.evaluation_id] = record
        of = self._users.setdefault(request.user, _Of())
        of.inside_bytes += inside(request.inputs)
        of.needed.update(record.objects.keys())
        of.sizes |= record.objects

    def ended(self, evaluation_id: str) -> None:
        """An evaluation has ended, or came to nothing."""
        if (record := self._evaluations.pop(evaluation_id, None)) is None:
            return
        of = self._users[record.request.user]
        of.inside_bytes -= inside(record.request.inputs)
        of.needed.subtract(record.objects.keys())
        for name in record.objects:
            if of.needed[name] <= 0:
                del of.needed[name], of.sizes[name]
        if not (of.inside_bytes or of.needed):
            del self._users[record.request.user]

    def bytes_of(self, user: str, more: Evaluate, objects: Mapping[str, int]) -> int:
        """What a user's inputs would take with those of one more request."""
        of = self._users.get(user, _Of())
        together = {**of.sizes, **objects}
        return of.inside_bytes + inside(more.inputs) + sum(together.values())


class Stored:
    """What the collectors say that is stored for each user, and how large objects are."""

    def __init__(self, most: Most) -> None:
        self._most = most
        self._usage: dict[str, Usage] = {}
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._watch: Watch | None = None

    async def start(self, bus: Bus) -> None:
        """Follow the bucket."""
        self._bus = bus
        bucket = await bus.bucket(subjects.USAGE_BUCKET)
        self._watch = await bucket.watch(self._saw)

    async def stop(self) -> None:
        """Follow no more."""
        if self._watch is not None:
            await self._watch.stop()

    def _saw(self, key: str, message: Message | None, _: int) -> None:
        if isinstance(message, Usage):
            self._usage[key] = message
        else:
            self._usage.pop(key, None)

    async def objects(self, inputs: Iterable[Input]) -> dict[str, int]:
        """The objects of the bus's store among some inputs, and their bytes."""
        names = {one.url.removeprefix(REPO) for one in inputs if one.url.startswith(REPO)}
        return {name: await self._size(name) for name in sorted(names)}

    async def _size(self, name: str) -> int:
        if name not in self._sizes:
            store = await self._bus.objects(subjects.object_store(name))
            size_bytes = await store.size_bytes(name)
            if not size_bytes:
                return 0  # it may still come
            self._sizes[name] = size_bytes
            if len(self._sizes) > REMEMBERED:
                self._sizes.popitem(last=False)
        return self._sizes[name]

    def refuse(
        self, request: Evaluate, objects: Mapping[str, int], inputs: InputsHeld
    ) -> Refused | None:
        """Why a user may hold no more, if so."""
        user = request.user
        usage = self._usage.get(subjects.token(user), Usage(user=user))
        text = self._most.stands_against(usage, inputs.bytes_of(user, request, objects))
        if not text:
            return None
        return Refused(evaluation_id=request.evaluation_id, kind="user_limit", text=text)


def inside(inputs: Iterable[Input]) -> int:
    """The bytes that travel inside a request."""
    return sum(len(one.data) for one in inputs)
