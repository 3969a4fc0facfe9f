"""Where a manifest's own code has a say: before, in place of and after the built-in steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .code import Code, Context
from .errors import WorkerError
from .fed import Fed
from .job import Item, Target
from .modalities.source import content

PREDICTION = ("classes", "boxes", "map", "tensors", "image", "text", "intervals")
"""What postprocessing may fill: the fields of a message's Prediction."""


class OwnCode:
    """A target's code at the places where it has a say."""

    def __init__(self, target: Target, labels: list[str]) -> None:
        self.target, self.labels = target, labels
        self.code = Code(target.code, target.allow_code)

    def __bool__(self) -> bool:
        return bool(self.code)

    @property
    def makes_tensors(self) -> bool:
        """Whether it takes the place of the built-in steps."""
        return "preprocess" in self.code

    def item(self, item: Item) -> Item:
        """The item with what before_preprocess makes of its bytes."""
        name = "before_preprocess"
        if name not in self.code:
            return item
        data = self.code.run(name, self._context(item.name), content(item))
        if not isinstance(data, bytes):
            raise _wrong(name, data, "bytes")
        return Item(item.name, data=data, truth=item.truth)

    def tensor(self, item: str, data: bytes, given: Mapping[str, Any]) -> np.ndarray:
        """The one row that preprocess makes of an item's bytes, for one input."""
        made = self.code.run("preprocess", self._context(item, given), data)
        return _array("preprocess", made)[np.newaxis]

    def made(self, item: str, tensor: np.ndarray, given: Mapping[str, Any]) -> np.ndarray:
        """Every row as after_preprocess leaves it."""
        name = "after_preprocess"
        if name not in self.code:
            return tensor
        context = self._context(item, given)
        return np.stack([_array(name, self.code.run(name, context, row)) for row in tensor])

    def said(
        self, item: Fed, rows: Mapping[str, np.ndarray], read: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """A prediction's fields: read as the manifest's outputs say, or by postprocess."""
        if not self.code:
            return read(rows)
        context = self._context(item.name, about=item.about)
        changed = self.code.run("before_postprocess", context, dict(rows))
        if not isinstance(changed, dict):
            raise _wrong("before_postprocess", changed, "a dict of tensors")
        if "postprocess" in self.code:
            answer = self.code.run("postprocess", context, changed)
        else:
            answer = read({name: _array("before_postprocess", x) for name, x in changed.items()})
        answer = self.code.run("after_postprocess", context, answer)
        if not isinstance(answer, dict) or not {*answer} <= {*PREDICTION}:
            last = "after_postprocess" if "after_postprocess" in self.code else "postprocess"
            raise _wrong(last, answer, f"a dict with {', '.join(PREDICTION)}")
        told: dict[str, Any] = _plain(answer)
        return told

    def _context(
        self,
        item: str,
        given: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> Context:
        return Context(
            model=self.target.model.name,
            item=item,
            input=given or {},
            outputs=self.target.outputs,
            labels=tuple(self.labels),
            about=about or {},
        )


def _wrong(name: str, found: Any, expected: str) -> WorkerError:
    what = f"a dict with {', '.join(map(str, found))}" if isinstance(found, dict) else ""
    text = f"the manifest's {name} gave {what or type(found).__name__}; {expected} is expected"
    return WorkerError("request", text)


def _array(name: str, found: Any) -> np.ndarray:
    try:
        array = np.ascontiguousarray(found)
    except ValueError:
        raise _wrong(name, found, "a tensor") from None
    if array.dtype.kind not in "biuf":
        raise _wrong(name, found, "a tensor of numbers")
    return array


def _plain(value: Any) -> Any:
    """numpy's numbers and arrays as Python's own, which a message can hold."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
