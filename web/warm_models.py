"""Models held open for the Open Inference Protocol: opened when first asked, the unused closed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from bus.errors import MLModelScopeError, NoAnswerError
from bus.messages import Predicted
from mlmodelscope.client import Client
from mlmodelscope.warm import PredictionError, WarmModel

GONE = ("unknown_handle", "closed", "worker_died")


class WarmModels:
    """Up to `most` models, each by its reference (`name` or `name@version`)."""

    def __init__(self, client: Client, most: int) -> None:
        self._client, self._most = client, max(1, most)
        self._open: OrderedDict[str, WarmModel] = OrderedDict()
        self._opening: dict[str, asyncio.Lock] = {}

    def held(self, reference: str) -> WarmModel | None:
        """The model, if it is open now."""
        return self._open.get(reference)

    async def get(self, reference: str) -> WarmModel:
        """The model, open; the longest unused is closed where there are too many."""
        lock = self._opening.setdefault(reference, asyncio.Lock())
        try:
            async with lock:
                if reference not in self._open:
                    model = self._client.open(reference)
                    await model.__aenter__()
                    self._open[reference] = model
        finally:
            if reference not in self._open:
                self._opening.pop(reference, None)
        self._open.move_to_end(reference)
        found = self._open[reference]
        while len(self._open) > self._most:
            old, model = self._open.popitem(last=False)
            self._opening.pop(old, None)
            await model.__aexit__(None, None, None)
        return found

    async def ask(self, reference: str, inputs: Sequence[Path], top_k: int) -> Predicted:
        """What the model says; opened again once where its node let it go."""
        try:
            return await (await self.get(reference)).ask(inputs, top_k=top_k)
        except (PredictionError, NoAnswerError) as exc:
            if isinstance(exc, PredictionError) and exc.kind not in GONE:
                raise
            await self.close(reference)
        return await (await self.get(reference)).ask(inputs, top_k=top_k)

    async def close(self, reference: str) -> None:
        """Hold it no longer."""
        model = self._open.pop(reference, None)
        self._opening.pop(reference, None)
        if model is not None:
            try:
                await model.__aexit__(None, None, None)
            except MLModelScopeError:
                pass  # its node is gone, and the model with it

    async def end(self) -> None:
        """Close them all."""
        for reference in [*self._open]:
            await self.close(reference)
