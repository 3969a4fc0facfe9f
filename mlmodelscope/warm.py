"""WarmModel: a model held open on a node, to be asked again and again without an evaluation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError, InputError, MLModelScopeError, NoAnswerError, RefusedError
from bus.messages import (
    Close,
    Done,
    Input,
    ListNodes,
    Message,
    Nodes,
    Open,
    Opened,
    Predict,
    Predicted,
    PredictFailed,
    Prediction,
    Refused,
)
from mlmodelscope.inputs import gather_inputs

MARGIN_S = 5.0
"""Beyond a request's own timeout, which the node keeps: it answers `busy` by then."""
COORDINATORS_MARGIN_S = 10.0

FIRST_LOOK_S, LAST_LOOK_S = 2.0, 10.0
"""How long to wait for a node's answer before asking whether it lives; then twice as long …"""

A = TypeVar("A", bound=Message)
B = TypeVar("B", bound=Message)


class PredictionError(MLModelScopeError):
    """An open model could not be asked; `kind` as in the message PredictFailed."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


class WarmModel:
    """`async with scope.open(…) as model`: open inside the block, closed after it."""

    def __init__(self, bus: Bus, request: Open) -> None:
        self._bus, self._request = bus, request
        self._opened: Opened | None = None

    async def __aenter__(self) -> WarmModel:
        request = self._request
        timeout_s = request.timeout_s + COORDINATORS_MARGIN_S
        reply = await self._bus.request(
            subjects.OPEN, request, Opened, Refused, timeout_s=timeout_s
        )
        if isinstance(reply, Refused):
            raise RefusedError(reply.text, reply.kind, reply)
        self._opened = reply
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.close()
        except BusError:
            pass  # the node is gone, and the model with it

    @property
    def opened(self) -> Opened:
        """Where the model lies, its inputs and outputs, and the settings in effect."""
        if self._opened is None:
            raise InputError("the model is not open: use `async with scope.open(…) as model`")
        return self._opened

    async def predict(
        self, inputs: Sequence[str | Path], *, top_k: int = 5, timeout_s: float = 30.0
    ) -> list[Prediction]:
        """What the model says of files, folders or URLs: one prediction each, in their order.

        Raises PredictionError (kind `busy` when the node was at other work for timeout_s),
        NoAnswerError when the node is gone.
        """
        return (await self.ask(inputs, top_k=top_k, timeout_s=timeout_s)).predictions

    async def ask(
        self, inputs: Sequence[str | Path | Input], *, top_k: int = 5, timeout_s: float = 30.0
    ) -> Predicted:
        """The same, with the times that it took on the node; an Input is what was read already."""
        request = Predict(
            handle=self.opened.handle,
            inputs=await gather_inputs(self._bus, inputs),
            top_k=top_k,
            timeout_s=timeout_s,
        )
        subject = subjects.predict_on(self.opened.node_id)
        reply = await self._tell(subject, request, Predicted, PredictFailed, timeout_s)
        if isinstance(reply, PredictFailed):
            raise PredictionError(reply.kind, reply.text)
        return reply

    async def close(self) -> None:
        """Hold the model no longer; twice is harmless."""
        subject = subjects.close_on(self.opened.node_id)
        await self._tell(subject, Close(handle=self.opened.handle), Done, Done, 0.0)

    async def _tell(
        self, subject: str, request: Message, one: type[A], other: type[B], timeout_s: float
    ) -> A | B:
        asking = asyncio.create_task(
            self._bus.request(subject, request, one, other, timeout_s=timeout_s + MARGIN_S)
        )
        pause_s = FIRST_LOOK_S
        try:
            while not (await asyncio.wait([asking], timeout=pause_s))[0]:
                if not await self._is_alive():
                    raise NoAnswerError(subject, 0.0)
                pause_s = min(2 * pause_s, LAST_LOOK_S)
            return asking.result()
        except NoAnswerError as exc:
            hint = f"node {self.opened.node_id}, which held the model, is gone: open it again"
            raise NoAnswerError(subject, exc.timeout_s, hint) from exc
        finally:
            asking.cancel()

    async def _is_alive(self) -> bool:
        """Whether the node lives, as far as anybody says: it may have died with a request."""
        try:
            answer = await self._bus.request(subjects.NODES, ListNodes(), Nodes, timeout_s=2.0)
        except BusError:
            return True
        return any(seen.node.node_id == self.opened.node_id for seen in answer.nodes)
