"""From items to what a model is fed, and from its outputs to what it says of them.

Made from the manifest alone (so that a wrong one fails before anything is loaded), then bound to
the opened model, whose own names, types and shapes the tensors must have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from .errors import WorkerError, unknown
from .fed import Fed
from .fed_as import SETTING as FEED
from .fed_as import feed_of, handing
from .job import Item, Target
from .measure import Batch
from .modalities import FILLED, modality
from .modalities.filled import Filled
from .modalities.source import content
from .models import Opened
from .outputs import check_outputs, read_all
from .outputs.labels import read_labels
from .outputs.reading import Reading
from .own_code import OwnCode

MAX_BATCHES_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Source:
    """An input that items feed: its modality, and its parameters as that modality reads them."""

    given: Mapping[str, Any]
    module: ModuleType
    parameters: Any


class Feeding:
    """How one model is fed and read."""

    def __init__(self, target: Target) -> None:
        self._target = target
        check_outputs(target.outputs)
        fed = [given for given in target.inputs if given.get("type") not in FILLED]
        if not fed:
            text = f"the model has {len(target.inputs)} inputs, none of which an item can feed"
            raise WorkerError("request", f"{text}; an image, text, audio, bytes or raw is expected")
        self._sources = [
            Source(given, module, module.read_parameters(given))
            for given in fed
            for module in (modality(given),)
        ]
        self._filled = [Filled(given) for given in target.inputs if given.get("type") in FILLED]
        self._labels = read_labels(target.labels) if target.labels else []
        self._code = OwnCode(target, self._labels)

    def settings(self) -> dict[str, Any]:
        """What a result records of how its inputs were made."""
        feed = feed_of(self._target.settings)
        return ({} if feed == "array" else {FEED: feed}) | {
            name: value
            for source in self._sources
            if (tell := getattr(source.module, "settings", None))
            for name, value in tell(source.parameters).items()
        }

    # ---------------------------------------------------------------- items

    def open(self, item: Item) -> list[Any]:
        """The item as what it is, once for each modality that looks at it ("decode")."""
        item = self._code.item(item)
        if self._code.makes_tensors:
            return [content(item)]
        opened: list[Any] = []
        for index, source in enumerate(self._sources):
            alike = [
                opened[before]
                for before in range(index)
                if self._sources[before].module is source.module
            ]
            opened.append(alike[0] if alike else source.module.open(item, source.parameters))
        return opened

    def tensors(self, item: Item, opened: Sequence[Any]) -> Fed:
        """What the model is fed of an opened item ("preprocess")."""
        if self._code.makes_tensors:
            made = tuple(
                self._code.tensor(item.name, opened[0], source.given) for source in self._sources
            )
        else:
            made = tuple(
                source.module.tensors(what, source.parameters)
                for source, what in zip(self._sources, opened, strict=True)
            )
        made = tuple(
            self._code.made(item.name, tensor, source.given)
            for source, tensor in zip(self._sources, made, strict=True)
        )
        if len({len(tensor) for tensor in made}) > 1:
            counts = [len(tensor) for tensor in made]
            raise WorkerError("input", f"{item.name} gives its inputs {counts} rows; equally many")
        about = {} if self._code.makes_tensors else self._about(opened)
        return Fed(item.name, made, about, item.truth)

    def _about(self, opened: Sequence[Any]) -> dict[str, Any]:
        """What each modality says of the item; of one modality's inputs, the first."""
        about: dict[str, Any] = {}
        asked = set()
        for source, what in zip(self._sources, opened, strict=True):
            tell = getattr(source.module, "about", None)
            if tell and source.module not in asked:
                asked.add(source.module)
                about = {**tell(what, source.parameters), **about}
        return about

    def stacked(self, arrays: np.ndarray) -> tuple[tuple[np.ndarray, ...], dict[str, Any]] | None:
        """What the model is fed of items that came as arrays, all at once, and what is to be said
        of each; None where it must be done item by item."""
        made: list[np.ndarray] = []
        about: dict[str, Any] = {}
        for source in self._sources:
            stacked = getattr(source.module, "stacked", None)
            at_once = stacked and not self._code and stacked(arrays, source.parameters)
            if not at_once:
                return None
            made.append(at_once[0])
            about = {**at_once[1], **about}
        return tuple(made), about

    # ---------------------------------------------------------------- the model

    def bind(self, model: Opened, example: Fed | None = None) -> Bound:
        """Fit the manifest's inputs to the model's own; names the one that does not."""
        declared = {each["name"]: each for each in model.handle.inputs}
        made = example.tensors if example else [None] * len(self._sources)
        names = tuple(
            _input_name(source, declared, len(self._sources) + len(self._filled), tensor)
            for source, tensor in zip(self._sources, made, strict=True)
        )
        for filled in self._filled:
            if filled.name not in declared:
                raise unknown("input of the model", filled.name, declared)
        if missing := sorted(set(declared) - {*names, *(filled.name for filled in self._filled)}):
            text = f"the model's input {missing[0]} is not in the manifest; an input of that name"
            raise WorkerError("request", f"{text} is expected")
        outputs = [each["name"] for each in model.handle.outputs]
        for output in self._target.outputs:
            if output.get("name") and output["name"] not in outputs:
                raise unknown("output of the model", output["name"], outputs)
        for filled in self._filled:
            if filled.from_output and filled.from_output not in outputs:
                raise unknown("output of the model", filled.from_output, outputs)
        first = declared[names[0]]["shape"]
        size = first[0] if first else 0
        fixed = size if isinstance(size, int) and size > 0 else 0
        return Bound(
            names=names,
            output_names=outputs,
            filled=tuple(self._filled),
            outputs=self._target.outputs,
            labels=self._labels,
            fixed_batch=fixed,
            folder=self._target.folder,
            code=self._code,
            hand=handing(model.plugin, model.handle, feed_of(self._target.settings)),
        )


@dataclass(frozen=True, slots=True)
class Bound:
    """A feeding and an opened model together. fixed_batch: the graph's own size, or 0: any."""

    names: tuple[str, ...]
    output_names: Sequence[str]
    filled: tuple[Filled, ...]
    outputs: Sequence[Mapping[str, Any]]
    labels: list[str]
    fixed_batch: int
    folder: str = "."
    code: OwnCode | None = None
    hand: Callable[[Batch], Batch] = lambda batch: batch
    """As what a batch is handed over: see fed_as.py."""

    @property
    def stateful(self) -> bool:
        """Whether an item's rows must be predicted one after the other."""
        return any(filled.from_output for filled in self.filled)

    def batch(self, rows: Sequence[tuple[Fed, int]]) -> Batch:
        """Rows as the model takes them."""
        fed = {
            name: np.stack([item.tensors[place][row] for item, row in rows])
            for place, name in enumerate(self.names)
        }
        filling = {filled.name: filled.fill(len(rows)) for filled in self.filled}
        return self.hand({**fed, **filling})

    def batches(self, items: Sequence[Fed], size: int, queries: int) -> list[Batch]:
        """Every different batch that cycling through the rows gives, made before the loop.

        No more than the queries use, and no more than fit into a gigabyte: then fewer repeat.
        """
        rows = rows_of(items)
        count = len(rows)
        row_bytes = sum(tensor[0].nbytes for tensor in items[0].tensors)
        fitting = max(1, MAX_BATCHES_BYTES // max(1, size * row_bytes))
        different = min(count // math.gcd(count, size), queries, fitting)
        return [
            self.batch([rows[(first * size + place) % count] for place in range(size)])
            for first in range(different)
        ]

    def passes(
        self, items: Sequence[Fed], size: int
    ) -> Iterator[tuple[list[tuple[Fed, int]], int]]:
        """Every row once, in batches, with how many of them count.

        A last batch that is not full is filled from the first rows: a fixed size needs it.
        """
        rows = rows_of(items)
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            filling = [rows[place % len(rows)] for place in range(size - len(part))]
            yield part + filling, len(part)

    def next_states(self, outputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """What a window leaves behind for the one after it."""
        by_name = dict(zip(self.output_names, outputs, strict=False))
        return {
            filled.name: by_name[filled.from_output] for filled in self.filled if filled.from_output
        }

    def say(
        self, item: Fed, rows: Sequence[Sequence[np.ndarray]], top_k: int, full: bool = False
    ) -> dict[str, Any]:
        """A prediction from an item's rows: for each row its outputs in the model's order."""
        stacked = {
            name: np.stack([np.asarray(row[place]) for row in rows])
            for place, name in enumerate(self.output_names)
        }
        reading = Reading(self.labels, top_k, full, item.about, self.folder)
        read = partial(read_all, outputs=self.outputs, reading=reading)
        said = self.code.said(item, stacked, read) if self.code else read(stacked)
        answer = {"input": item.name, **said}
        return answer if item.truth is None else {**answer, "truth": dict(item.truth)}


def rows_of(items: Sequence[Fed]) -> list[tuple[Fed, int]]:
    """Every row of the items, in their order."""
    return [(item, row) for item in items for row in range(item.rows)]


def split_rows(outputs: Sequence[np.ndarray], count: int, size: int) -> list[list[np.ndarray]]:
    """A batch's outputs row by row; one whose first dimension is not the batch goes to each."""
    arrays = [np.asarray(output) for output in outputs]
    return [
        [array[row] if array.ndim and len(array) == size else array for array in arrays]
        for row in range(count)
    ]


def of_one_shape(items: Sequence[Fed], hint: str) -> None:
    """Items that are to share a batch must be alike; `hint` says what else can be done."""
    shapes = {tuple(tensor.shape[1:] for tensor in item.tensors) for item in items}
    if len(shapes) > 1:
        text = f"the inputs become tensors of {len(shapes)} shapes, which cannot share a batch"
        raise WorkerError("request", f"{text}; {hint}, or resize them alike")


def with_states(batch: Batch, states: Mapping[str, np.ndarray]) -> Batch:
    """A batch that goes on where the window before it ended."""
    return {**batch, **states}


def _input_name(
    source: Source,
    declared: Mapping[str, Mapping[str, Any]],
    count: int,
    tensor: np.ndarray | None,
) -> str:
    """The model's own name of an input, whose type and shape the tensor must have."""
    given = source.given
    name = given.get("name") or (given.get("parameters") or {}).get("input_layer") or ""
    if not name and len(declared) == count == 1:
        (name,) = declared
    if name not in declared:
        raise unknown("input of the model", name, declared)
    made = tensor.dtype.name if tensor is not None else _promised(source)
    if (dtype := declared[name]["dtype"]) and made and dtype != made:
        text = f"the model's input {name} takes {dtype}; the manifest makes {made}"
        raise WorkerError("request", f"{text}: set its element_type")
    if tensor is not None:
        _check_shape(name, declared[name]["shape"], tensor)
    return str(name)


def _promised(source: Source) -> str:
    return str(source.parameters.element_type)


def _check_shape(name: str, wanted: Sequence[Any], tensor: np.ndarray) -> None:
    """Every size that the model fixes, but the batch's."""
    if not wanted:
        return
    found = tensor.shape[1:]
    fits = len(found) == len(wanted) - 1 and all(
        not isinstance(want, int) or want in (-1, have)
        for want, have in zip(wanted[1:], found, strict=True)
    )
    if not fits:
        text = f"the model's input {name} takes the shape {list(wanted)}"
        raise WorkerError("request", f"{text}; the manifest makes [batch, {_listed(found)}]")


def _listed(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))
