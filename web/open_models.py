"""Models that programs hold open by REST, each under an id that only its owner knows."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bus.errors import MLModelScopeError, NoAnswerError
from bus.messages import Input, Opened, Predicted
from mlmodelscope.warm import PredictionError, WarmModel
from web.problems import ProblemError

GONE = ("unknown_handle", "closed", "worker_died")
STATUSES = {"busy": 503, "unknown_handle": 410, "closed": 410, "worker_died": 410}


@dataclass(frozen=True)
class Held:
    """One open model, and who opened it."""

    owner: str
    model: WarmModel

    @property
    def opened(self) -> Opened:
        """Where it lies, and what goes in and out."""
        return self.model.opened


class OpenModels:
    """Up to `most` of all owners together: the longest unused makes room."""

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._held: OrderedDict[str, Held] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    async def hold(self, owner: str, model: WarmModel) -> str:
        """Open it; the id that it has from now on."""
        await model.__aenter__()
        name = secrets.token_hex(16)
        self._held[name] = Held(owner, model)
        while len(self._held) > self._most:
            await self._let_go(next(iter(self._held)))
        return name

    def of(self, owner: str) -> dict[str, Held]:
        """What is open of one owner's, by id."""
        return {name: held for name, held in self._held.items() if held.owner == owner}

    def find(self, owner: str, name: str) -> Held:
        """The model of an id; ProblemError where this owner has none of that id."""
        held = self._held.get(name)
        if held is None or held.owner != owner:
            raise ProblemError(404, "unknown_handle", f"no open model {name}: open it (again)")
        self._held.move_to_end(name)
        return held

    async def ask(
        self, owner: str, name: str, inputs: Sequence[str | Path | Input], top_k: int
    ) -> Predicted:
        """What it says; 410 where its node let it go, and then it is forgotten here too."""
        held = self.find(owner, name)
        try:
            return await held.model.ask(inputs, top_k=top_k)
        except PredictionError as exc:
            if exc.kind in GONE:
                self._held.pop(name, None)
            raise ProblemError(STATUSES.get(exc.kind, 422), exc.kind, str(exc)) from exc
        except NoAnswerError as exc:
            self._held.pop(name, None)
            raise ProblemError(410, "node_lost", str(exc)) from exc

    async def close(self, owner: str, name: str) -> None:
        """Hold it no longer."""
        self.find(owner, name)
        await self._let_go(name)

    async def end(self) -> None:
        """Close them all."""
        for name in [*self._held]:
            await self._let_go(name)

    async def _let_go(self, name: str) -> None:
        held = self._held.pop(name)
        try:
            await held.model.__aexit__(None, None, None)
        except MLModelScopeError:
            pass  # its node is gone, and the model with it
