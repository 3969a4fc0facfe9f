"""The models that clients hold open: opened once, asked one query at a time, never measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .errors import WorkerError
from .feeding import Bound, Feeding, of_one_shape
from .job import Item, Target, check_top_k, read_items, read_target
from .models import Key, Opened, key_of, open_model
from .predicting import Asker
from .trace import now_ns


@dataclass(frozen=True, slots=True)
class Held:
    """An open model with everything about its inputs and outputs looked up beforehand."""

    target: Target
    model: Opened
    feeding: Feeding
    bound: Bound

    def predict(self, items: Sequence[Item], top_k: int) -> dict[str, Any]:
        """One prediction an item; the times of making the tensors and of the predict calls."""
        begin_ns = now_ns()
        fed = [self.feeding.tensors(item, self.feeding.open(item)) for item in items]
        preprocess_ns = now_ns() - begin_ns
        of_one_shape(fed, "ask for one at a time")
        size = self.bound.fixed_batch or sum(item.rows for item in fed)
        said = Asker(self.target, self.model, self.bound).ask(fed, size)
        return {
            "predictions": [self.bound.say(item, rows, top_k) for item, rows in said.items],
            "duration_ns": said.duration_ns,
            "preprocess_ns": preprocess_ns,
        }


class HeldModels:
    """Open models by the handles that the node gave them; handles of equal content share one."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def open(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Hold a model; the `opened` frame. All that a manifest can get wrong is found here."""
        handle, target = str(command.get("handle")), read_target(command.get("model") or {})
        if handle in self._held:
            raise WorkerError("request", f"handle {handle} is open already; a new one is expected")
        feeding = Feeding(target)
        model = self._opened(target)
        try:
            self._held[handle] = Held(target, model, feeding, feeding.bind(model))
        except BaseException:
            self._let_go(target, model)
            raise
        about = model.about()
        about["settings"] = {**about["settings"], **feeding.settings()}
        return {"said": "opened", "framework": target.framework, **about}

    def predict(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """What a held model says of some inputs; the `predicted` frame."""
        held = self._held.get(str(command.get("handle")))
        if held is None:
            raise WorkerError("request", "there is no open model of this handle; open it first")
        items, top_k = read_items(command.get("items") or []), check_top_k(command.get("top_k"))
        return {"said": "predicted", **held.predict(items, top_k)}

    def close(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Hold a model no longer; the `closed` frame. Twice is harmless."""
        held = self._held.pop(str(command.get("handle")), None)
        if held is not None:
            self._let_go(held.target, held.model)
        return {"said": "closed"}

    def close_all(self) -> None:
        for handle in [*self._held]:
            self.close({"handle": handle})

    def _opened(self, target: Target) -> Opened:
        begin_ns, shared = now_ns(), self._shared(key_of(target))
        if shared is None:
            return open_model(target)
        took_ns = now_ns() - begin_ns
        return replace(shared, cached=True, start_ns=begin_ns, duration_ns=took_ns)

    def _shared(self, key: Key) -> Opened | None:
        return next(
            (held.model for held in self._held.values() if key_of(held.target) == key), None
        )

    def _let_go(self, target: Target, model: Opened) -> None:
        """Close a model unless another handle still uses it."""
        if self._shared(key_of(target)) is None:
            model.close()
