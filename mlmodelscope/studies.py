"""A study: a grid that says more, and the cells of its three parts.

The sweep measures every batch size with nothing looked at deeper than the model; then the traces
look deeper, at the batch size of each model's peak; then each framework runs the dataset once.
"""

from __future__ import annotations

import pathlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from bus.errors import InputError
from bus.messages import LEVELS, Level, Manifest
from mlmodelscope import dataset_files, manifest_files
from mlmodelscope.asked import Asked
from mlmodelscope.grids import Grid, Wish, merged, read_grid, renamed, wishes

LAYERS = LEVELS.index("framework")


class Study(Grid, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a study's file says beside what a grid's does.

    trace: how deep to look at the batch size of each model's peak, trace_runs times. baseline: the
    node that others are held against. ceilings: whether nodes measure what their machines can do.
    """

    title: str = ""
    baseline: str = ""
    trace: Level = "library"
    trace_runs: int = 20
    ceilings: bool = True

    @property
    def traced(self) -> bool:
        """Whether there are traces."""
        return LEVELS.index(self.trace) >= LAYERS

    @property
    def shown_title(self) -> str:
        """What its site is called."""
        return self.title or self.name or "A study"


def study_of(path: pathlib.Path | None, given: Mapping[str, object], again: bool = False) -> Study:
    """The study of a file, of the command line, or of both; again: none of its cells was done."""
    base = _beside(read_grid(path, Study), path.parent) if path is not None else None
    study = _beside(merged(base, given, Study), pathlib.Path())
    if study.trace_runs < 1:
        raise InputError("study: trace_runs: expected a whole number from 1")
    return renamed(study, f"{study.name} {uuid.uuid4().hex}".strip()) if again else study


def _beside(study: Study, folder: pathlib.Path) -> Study:
    """The same with its files, which lie in that folder, named by their whole paths."""

    def found(name: str) -> str:
        there = (folder / name).resolve()
        return str(there) if "://" not in name and there.exists() else name

    files = [
        path
        for name in study.models
        for path in (_every(folder, name) if manifest_files.is_file(name) else [name])
    ]
    own = study.dataset and dataset_files.is_own(study.dataset)
    return msgspec.structs.replace(
        study,
        models=files,
        inputs=[found(name) for name in study.inputs],
        dataset=found(study.dataset) if own else study.dataset,
    )


def _every(folder: pathlib.Path, name: str) -> list[str]:
    """The manifests' files that are meant: `models/*.yml` is every one in there."""
    if "*" not in name:
        return [str((folder / name).resolve())]
    start = pathlib.Path("/") if name.startswith("/") else folder
    found = sorted(str(path.resolve()) for path in start.glob(name.lstrip("/")))
    if not found:
        raise InputError(f"study: models: no file is called {folder / name}")
    return found


# ---------------------------------------------------------------- the grids of its parts


def own_manifests(study: Study) -> dict[str, Manifest]:
    """Those models that are files, read and checked."""
    return {
        name: manifest_files.whole(pathlib.Path(name))
        for name in study.models
        if manifest_files.is_file(name)
    }


def sweep_grid(study: Study) -> Grid:
    """What of a study is a grid of times."""
    fields = {name: getattr(study, name) for name in Grid.__struct_fields__}
    return Grid(**{**fields, "trace": "model", "dataset": "", "limit": 0})


def judging_grid(study: Study) -> Grid:
    """What of a study is a grid of answers."""
    fields = {name: getattr(study, name) for name in Grid.__struct_fields__}
    one = min(study.batch_sizes)
    return Grid(**{**fields, "trace": "model", "inputs": [], "batch_sizes": [one]})


def sweep_wishes(
    study: Study, places: Mapping[str, Sequence[str]], own: Mapping[str, Manifest]
) -> list[Wish]:
    """Every cell of the sweep.

    Manifests of one's own of the same model, each for its framework, are one model: a framework
    is run with the manifest that is for it. One that none is for is asked of the first, so that
    it is refused with the reason.
    """
    every = wishes(sweep_grid(study), {name: list(nodes) for name, nodes in places.items()})
    served = {
        (own[wish.model].name, wish.asked.framework)
        for wish in every
        if wish.model in own and _serves(own[wish.model], wish.asked.framework)
    }
    first: dict[str, str] = {}
    for name, manifest in own.items():
        first.setdefault(manifest.name, name)
    return [wish for wish in every if _is_meant(wish, own, served, first)]


def _is_meant(
    wish: Wish,
    own: Mapping[str, Manifest],
    served: set[tuple[str, str]],
    first: Mapping[str, str],
) -> bool:
    manifest = own.get(wish.model)
    if manifest is None or _serves(manifest, wish.asked.framework):
        return True
    nobody = (manifest.name, wish.asked.framework) not in served
    return nobody and first[manifest.name] == wish.model


def _serves(manifest: Manifest, framework: str) -> bool:
    wanted = _plain(framework.partition("@")[0])
    return wanted in ("", _plain(manifest.framework.name))


def _plain(name: str) -> str:
    return name.casefold().replace(" ", "")


@dataclass(frozen=True)
class Ran:
    """Where a cell of the sweep ran: its deeper look must be taken in the same place."""

    node: str
    environment: str
    batch_size: int


def trace_wish(study: Study, asked: Asked, ran: Ran) -> Wish:
    """The look below the model, where the sweep had its peak."""
    deeper = replace(
        asked,
        node=ran.node,
        environment=ran.environment,
        batch_sizes=(ran.batch_size,),
        trace=study.trace,
        runs=study.trace_runs,
    )
    return Wish(deeper)


def judging_wish(study: Study, asked: Asked, ran: Ran) -> Wish:
    """The dataset, once in this framework, where the sweep ran it first."""
    plain = replace(
        asked,
        inputs=(),
        node=ran.node,
        environment=ran.environment,
        batch_sizes=(ran.batch_size,),
        runs=1,
        warmup=1,
        trace="model",
    )
    return Wish(plain, study.dataset, study.limit)
