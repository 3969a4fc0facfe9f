"""Which files of this machine a container must see for a job, and no others."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from predictor_node.cache import KINDS, NESTED


def files_of(command: Mapping[str, Any]) -> Iterator[str]:
    """Every path that a job, or a model to be opened, names: its own folder and inputs apart."""
    yield from command["model"]["files"].values()
    yield command["labels"]
    for given in command["inputs"]:
        yield given.get("parameters", {}).get("tokenizer", "")
    if dataset := command.get("dataset"):
        yield from dataset["files"].values()
        yield dataset["labels_file"]


def visible(paths: Iterator[str] | Sequence[str], cache: Path) -> tuple[str, ...]:
    """What has to be mounted for these paths: whole entries of the cache, others as they are.

    A model's file finds what lies beside it; what a link leads to is seen, too.
    """
    found: set[str] = set()
    waiting = [Path(path) for path in paths if path]
    while waiting:
        place = _entry(waiting.pop(), cache)
        if str(place) in found:
            continue
        found.add(str(place))
        inside = [place, *(place.iterdir() if _has_links(place, cache) else ())]
        waiting += [path.resolve() for path in inside if path.is_symlink()]
    tops = [path for path in found if not any(_is_below(path, other) for other in found)]
    return tuple(sorted(tops))


def _has_links(place: Path, cache: Path) -> bool:
    """Only a model's folder holds links out of itself."""
    return place.parent == cache / "models" and place.is_dir()


def _entry(path: Path, cache: Path) -> Path:
    """The entry of the cache that a path lies in; itself where it lies elsewhere."""
    if not path.is_relative_to(cache):
        return path
    parts = path.relative_to(cache).parts
    if not parts or parts[0] not in KINDS:
        return path
    return cache.joinpath(*parts[: 3 if parts[0] in NESTED else 2])


def _is_below(path: str, other: str) -> bool:
    return path != other and path.startswith(f"{other}/")


def stage(items: Sequence[Mapping[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Inputs, copied into the job's folder: each job has others, and its container is the same."""
    staged = []
    for number, item in enumerate(items):
        if not item.get("path"):
            staged.append(dict(item))
            continue
        copy = folder / "inputs" / f"{number}{Path(item['path']).suffix}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(item["path"], copy)
        staged.append({**item, "path": str(copy)})
    return staged
