"""The models of whole libraries, from dated lists: a manifest is made when it is asked for.

`torchvision/resnet50` is the network with random weights. The weights that a library can download
carry their own name behind a dot (`torchvision/resnet50.IMAGENET1K_V2`, `timm/resnet50.a1_in1k`,
`keras/ResNet50.imagenet`): found by that name, and not listed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

from platformdirs import user_data_path

from bus.errors import InputError
from bus.messages import Manifest
from manifests.zoo.making import LIBRARIES, make
from manifests.zoo.rows import Row, ZooList, read_list

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """One library's list, and where it comes from."""

    zoo: ZooList
    origin: str
    """`shipped`, or the file that was written where the library is installed."""


class Zoo:
    """Every list that there is; they are read when the first model is asked for.

    folder: where `mlmodelscope zoo --refresh` writes lists, which win over the shipped ones.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @cached_property
    def lists(self) -> dict[str, Listed]:
        """By library."""
        found = {}
        for library in LIBRARIES:
            if (listed := self._refreshed(library) or _shipped(library)) is not None:
                found[library] = listed
        return found

    def find(self, name: str) -> Manifest | None:
        """The manifest of a name, whatever its case; of trained weights too."""
        library, _, rest = name.casefold().partition("/")
        if library not in self.lists or not rest:
            return None
        model, _, tag = rest.partition(".")
        row = self._rows.get(f"{library}/{model}")
        if row is None:
            return None
        weights = next((known for known in row.weights if known.casefold() == tag), "")
        if tag and not weights:
            return None
        return make(self.lists[library].zoo, row, weights)

    def names(self) -> list[str]:
        """Every name but those of trained weights."""
        return [f"{library}/{row.name}" for library, row in self._every()]

    def all(self) -> list[Manifest]:
        """A manifest for every name."""
        return [make(self.lists[library].zoo, row) for library, row in self._every()]

    @cached_property
    def _rows(self) -> dict[str, Row]:
        return {f"{library}/{row.name}".casefold(): row for library, row in self._every()}

    def _every(self) -> list[tuple[str, Row]]:
        return [(name, row) for name, listed in self.lists.items() for row in listed.zoo.rows]

    def _refreshed(self, library: str) -> Listed | None:
        path = self._folder / f"{library}.json" if self._folder is not None else None
        if path is None or not path.exists():
            return None
        try:
            return Listed(read_list(path), str(path))
        except InputError as exc:
            log.warning("list left out", extra={"error": str(exc)})
            return None


def zoo_folder(home: str | Path) -> Path:
    """Where a data folder (empty: the user's own) keeps lists of its own."""
    return (Path(home) if home else user_data_path("mlmodelscope")) / "zoo"


def _shipped(library: str) -> Listed | None:
    path = resources.files("manifests.zoo").joinpath("lists", f"{library}.json")
    return Listed(read_list(path), "shipped") if path.is_file() else None
