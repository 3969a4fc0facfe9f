"""A dataset's classes beside a model's: by name where both have names, else by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import WorkerError


@dataclass(frozen=True, slots=True)
class Matching:
    """The model's number of each class of the dataset; empty: they are the same."""

    numbers: Sequence[int] = ()
    classes: int = 0
    """How many the model names; 0: not known."""
    labels: Sequence[str] = field(default=(), repr=False)

    @staticmethod
    def of(name: str, dataset: Sequence[str], model: Sequence[str]) -> Matching:
        """Match by name; tables of equal length and other names are taken for the same order."""
        if not dataset or not model or list(dataset) == list(model):
            return Matching((), len(model), model)
        known = {label.casefold(): number for number, label in enumerate(model)}
        if all(label.casefold() in known for label in dataset):
            return Matching([known[label.casefold()] for label in dataset], len(model), model)
        if len(dataset) == len(model):
            return Matching((), len(model), model)
        stranger = next(label for label in dataset if label.casefold() not in known)
        text = f"dataset {name} has {len(dataset)} classes and the model {len(model)}"
        if abs(len(dataset) - len(model)) == 1:
            more, less = ("dataset", "model") if len(dataset) > len(model) else ("model", "dataset")
            text += f": the {more}'s probably begin with a background class that the {less} has not"
        text += f"; {stranger!r} is not among the model's"
        raise WorkerError("request", f"{text}; name the classes alike in both manifests")

    def truth(self, name: str, truth: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """What is true of an item, its classes counted as the model counts them."""
        if truth is None or not (self.numbers or self.classes):
            return truth
        told = dict(truth)
        if told.get("index", -1) >= 0:
            told["index"] = self._number(name, told["index"])
        if self.numbers and "boxes" in told:
            told["boxes"] = [
                {**box, "index": self._number(name, box["index"])} for box in told["boxes"]
            ]
        return told

    def _number(self, name: str, index: int) -> int:
        number = self.numbers[index] if self.numbers else index
        if self.classes and number >= self.classes:
            text = f"{name} is of class {number}, and the model has classes 0 to {self.classes - 1}"
            if number == self.classes:
                text += ": the dataset probably begins with a background class that it has not"
            raise WorkerError("request", f"{text}; name the classes in the dataset's manifest")
        return number
