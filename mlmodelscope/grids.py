"""A grid of evaluations: what a file or a command line spans, each cell with an id of its own.

A cell's evaluation id follows from the grid's name, what the cell asks for, and how often it was
tried: whoever has the same grid run again finds what was done.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import msgspec

from bus.errors import InputError, UnknownNameError
from bus.messages import LEVELS, Level, Preference
from manifests.reading import parse
from mlmodelscope import dataset_files, manifest_files
from mlmodelscope.asked import Asked, OnNodes

MOST_CELLS = 10_000
AXES = ("models", "frameworks", "batch_sizes", "nodes", "environments", "devices", "precisions")


class Grid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a grid's file says: the axes, then what all cells have in common.

    nodes: ids, `any`, `all` (each node that fits) or a number (so many of them). dataset: measure
    accuracy on it, in place of inputs and runs.
    """

    name: str = ""
    models: list[str]
    frameworks: list[str] = msgspec.field(default_factory=lambda: [""])
    batch_sizes: list[int] = msgspec.field(default_factory=lambda: [1])
    nodes: list[str] = msgspec.field(default_factory=lambda: ["any"])
    environments: list[str] = msgspec.field(default_factory=lambda: [""])
    devices: list[str] = msgspec.field(default_factory=lambda: ["cpu"])
    precisions: list[str] = msgspec.field(default_factory=lambda: [""])
    dataset: str = ""
    limit: int = 0
    inputs: list[str] = []
    runs: int = 100
    warmup: int = 5
    trace: Level = "model"
    threads: int = 0
    seed: int = 0
    settings: dict[str, str | int] = {}
    requires: list[str] = []
    prefer: Preference = ""
    priority: int = 0
    wait_s: float = 0.0
    timeout_s: float = 600.0


G = TypeVar("G", bound=Grid)


@dataclass(frozen=True)
class Wish:
    """One cell: an evaluation as a person could have asked for it alone."""

    asked: Asked
    dataset: str = ""
    limit: int = 0

    @property
    def model(self) -> str:
        """Of which model."""
        return self.asked.model

    def evaluation_id(self, grid: str, tried: int) -> str:
        """What this cell's evaluation is called, of a grid and a try."""
        plain = {k: v for k, v in asdict(self).items() if k != "asked"}
        told = {**asdict(self.asked), **plain, "grid": grid, "tried": tried}
        # How long to wait, and whose turn it is, make no other evaluation.
        told["on"] = {k: told["on"][k] for k in ("requires", "spread")}
        if manifest_files.is_file(self.model):
            told["model"] = _what(self.model)
        if self.dataset and dataset_files.is_own(self.dataset):
            told["dataset"] = _what(self.dataset)
        told["inputs"] = [_what(name) for name in self.asked.inputs]
        text = json.dumps(told, sort_keys=True, default=list)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _what(name: str) -> str:
    """A file by its content, a folder by what lies in it: where it lies makes no other cell."""
    path = pathlib.Path(name)
    if path.is_file():
        return _digest(path, path.stat().st_mtime_ns)
    return _listing(path) if path.is_dir() else name


@functools.lru_cache(maxsize=4096)
def _digest(path: pathlib.Path, changed_ns: int) -> str:
    """changed_ns: so that a file that has changed is read again."""
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@functools.lru_cache(maxsize=64)
def _listing(path: pathlib.Path) -> str:
    inside = sorted(str(file.relative_to(path)) for file in path.rglob("*"))
    return f"{path.name}/ {hashlib.sha256(repr(inside).encode()).hexdigest()}"


def read_grid(path: pathlib.Path, kind: type[G] = Grid) -> G:  # type: ignore[assignment]
    """The grid in a file; InputError says what is wrong in which line.

    kind: a study is a grid that says more.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        what = kind.__name__.lower()
        raise InputError(f"{path}: cannot be read as a {what} ({exc})") from exc
    document = parse(text, str(path))
    data = document.data if isinstance(document.data, dict) else {}
    known = kind.__struct_fields__
    for name in data:
        if name not in known:
            unknown = UnknownNameError("field", name, known)
            raise InputError(f"{path}:{document.line((name,))}: {unknown}")
    # One of something may stand without its brackets.
    data = {k: [v] if k in AXES and not isinstance(v, list) else v for k, v in data.items()}
    try:
        grid = msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError as exc:
        raise InputError(f"{path}: {_said(str(exc))}") from exc
    return checked(grid, str(path))


def merged(base: G | None, given: Mapping[str, object], kind: type[G]) -> G:
    """A file's grid with what was typed beside it, which wins; or that alone."""
    said = {name: value for name, value in given.items() if value not in ("", None, ())}
    what = kind.__name__.lower()
    if base is None and "models" not in said:
        raise InputError(f"expected a {what}'s FILE, or --models a,b,c")
    if (level := said.get("trace", "")) and level not in LEVELS:
        raise UnknownNameError("trace level", str(level), LEVELS)
    whole = msgspec.to_builtins(base) if base is not None else {}
    try:
        made = msgspec.convert({**whole, **said}, kind, strict=False)
    except msgspec.ValidationError as exc:
        raise InputError(f"{what}: {_said(str(exc))}") from exc
    return checked(made, what)


def _said(text: str) -> str:
    """msgspec's words for a fault, with the field as it is written in the file."""
    what, _, where = text.partition(" - at `")
    return f"{where.strip('`').removeprefix('$.')}: {what[:1].lower()}{what[1:]}" if where else text


def checked(grid: G, source: str) -> G:
    """The grid, or InputError: an axis without a value, too many cells, sizes below 1."""
    cells = 1
    for axis in AXES:
        values = getattr(grid, axis)
        if not values:
            raise InputError(f"{source}: {axis}: expected at least one")
        cells *= len(set(values))
    if cells > MOST_CELLS:
        raise InputError(f"{source}: expected at most {MOST_CELLS} cells (this has {cells})")
    if min(grid.batch_sizes) < 1 or grid.runs < 1:
        raise InputError(f"{source}: batch_sizes and runs: expected whole numbers from 1")
    if grid.trace not in LEVELS:
        raise InputError(f"{source}: trace: {UnknownNameError('trace level', grid.trace, LEVELS)}")
    return grid


def wishes(grid: Grid, places: dict[str, list[str]]) -> list[Wish]:
    """Every cell, in the order of the axes. places: for `all` and for numbers, the nodes that fit
    each model, the first choice first."""
    return list(_each(grid, places))


def _each(grid: Grid, places: dict[str, list[str]]) -> Iterator[Wish]:
    other = ("frameworks", "batch_sizes", "environments", "devices", "precisions")
    axes = [list(dict.fromkeys(getattr(grid, axis))) for axis in other]
    for model in dict.fromkeys(grid.models):
        nodes = [
            node
            for named in dict.fromkeys(grid.nodes)
            for node in _nodes(named, model, places.get(model, []))
        ]
        for node, *values in itertools.product(dict.fromkeys(nodes), *axes):
            yield _wish(grid, model, node, dict(zip(other, values, strict=True)))


def is_count(named: str) -> bool:
    """Whether a node is meant by how many: `all`, or a number."""
    return named == "all" or named.isdecimal()


def _nodes(named: str, model: str, fitting: list[str]) -> list[str]:
    """The nodes that one word of the axis means."""
    if not is_count(named):
        return [named]
    if named == "all":
        return sorted(fitting)
    if not 1 <= int(named) <= len(fitting):
        raise InputError(f"nodes: {named} are wanted for {model}, and {len(fitting)} fit")
    return fitting[: int(named)]


def _wish(grid: Grid, model: str, node: str, at: dict[str, Any]) -> Wish:
    precise = {"precision": at["precisions"]} if at["precisions"] else {}
    on = OnNodes(
        requires=tuple(grid.requires),
        prefer=grid.prefer,
        priority=grid.priority,
        wait_s=grid.wait_s,
    )
    asked = Asked(
        model=model,
        inputs=tuple(grid.inputs),
        batch_sizes=(at["batch_sizes"],),
        runs=grid.runs,
        warmup=grid.warmup,
        trace=grid.trace,
        framework=at["frameworks"],
        device=at["devices"],
        node="" if node == "any" else node,
        threads=grid.threads,
        seed=grid.seed,
        top_k=5,
        timeout_s=grid.timeout_s,
        environment=at["environments"],
        settings={**grid.settings, **precise},
        on=on,
    )
    return Wish(asked, grid.dataset, grid.limit)


def renamed(grid: G, name: str) -> G:
    """The same grid under another name: none of its cells was done."""
    return msgspec.structs.replace(grid, name=name)
