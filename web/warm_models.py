"""Models held open for the Open Inference Protocol: opened when first asked, the unused closed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from bus.errors import BusError, MLModelScopeError
from bus.messages import Input, Predicted
from mlmodelscope.client import Client
from mlmodelscope.warm import PredictionError, WarmModel

Named = tuple[str, str]
"""Whose, and which."""
GONE = ("unknown_handle", "closed", "worker_died")


class WarmModels:
    """Up to `most` models, each a user's own, by its reference (`name` or `name@version`)."""

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._open: OrderedDict[Named, WarmModel] = OrderedDict()
        self._opening: dict[Named, asyncio.Lock] = {}

    async def _get(self, client: Client, reference: Named) -> WarmModel:
        """The model, open; the longest unused is closed where there are too many."""
        lock = self._opening.setdefault(reference, asyncio.Lock())
        try:
            async with lock:
                if reference not in self._open:
                    model = client.open(reference[1])
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

    async def ask(
        self, client: Client, reference: str, inputs: Sequence[Path | Input], top_k: int
    ) -> Predicted:
        """What the model says; opened again once where its node let it go."""
        named = client.user, reference
        try:
            return await (await self._get(client, named)).ask(inputs, top_k=top_k)
        except (PredictionError, BusError) as exc:
            if isinstance(exc, PredictionError) and exc.kind not in GONE:
                raise
            await self._close(named)
        return await (await self._get(client, named)).ask(inputs, top_k=top_k)

    async def _close(self, reference: Named) -> None:
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
            await self._close(reference)
