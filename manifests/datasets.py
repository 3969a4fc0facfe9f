"""Datasets in and out of YAML, and which one a name and a range of versions mean."""

from __future__ import annotations

import pathlib
from collections import defaultdict
from collections.abc import Iterator
from importlib import resources
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bus.errors import ManifestError, UnknownNameError
from bus.messages import DatasetManifest
from manifests.catalog import UnmetVersionError, absolute, text_of
from manifests.faults import faults_of
from manifests.reading import Document, Fault, parse
from manifests.rules import wrong_values
from manifests.runnable import GroupsOf, in_no_group, seen_by
from manifests.version import meets, newest_first, normalise, parse_reference

PACKAGE_URL = "package://mlmodelscope/manifests/datasets/"


# ------------------------------------------------------------------ what each format asks for


class _Parameters(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The base of a format's parameters."""


class Pixels(_Parameters, frozen=True):
    """csv: the columns that hold an image, row after row; `maximum` is what becomes 255."""

    height: int
    width: int
    first: int = 0
    channels: int = 1
    maximum: float = 255.0


class Csv(_Parameters, frozen=True):
    """A table: an image's pixels, a file's name, or a text in its columns (names or numbers)."""

    header: bool = True
    delimiter: str = ","
    label_column: str = ""
    file_column: str = ""
    text_column: str = ""
    answer_column: str = ""
    pixels: Pixels | None = None


class Images(_Parameters, frozen=True):
    """Where a labels file (csv, tsv) has the file's name and its label."""

    header: bool = True
    file_column: str = "file"
    label_column: str = "label"


class JsonLines(_Parameters, frozen=True):
    """The fields of each line; answer_field: the text that a model should give."""

    file_field: str = ""
    text_field: str = ""
    label_field: str = ""
    answer_field: str = ""


class Cifar(_Parameters, frozen=True):
    """CIFAR-10 or CIFAR-100, and of the latter which of its two labels."""

    classes: Literal["10", "100"] = "10"
    label: Literal["fine", "coarse"] = "fine"


class Numpy(_Parameters, frozen=True):
    """The names of the arrays inside an .npz."""

    items: str = "images"
    labels: str = "labels"


class Package(_Parameters, frozen=True):
    """`package.module:function` of an installed package that brings the data with it."""

    function: str


class Nothing(_Parameters, frozen=True):
    """A format that needs to be told nothing."""


FORMATS: dict[str, tuple[type[_Parameters], tuple[str, ...], tuple[str, ...]]] = {
    "images": (Images, ("images",), ("labels", "masks", "targets")),
    "image_folder": (Nothing, ("images",), ()),
    "coco": (Nothing, ("images", "annotations"), ()),
    "mnist": (Nothing, ("images", "labels"), ()),
    "cifar": (Cifar, ("data",), tuple(f"data{number}" for number in range(2, 10))),
    "csv": (Csv, ("data",), ("images",)),
    "jsonl": (JsonLines, ("data",), ("images",)),
    "numpy": (Numpy, ("data",), ("labels",)),
    "package": (Package, (), ()),
}
"""format -> its parameters, the files that it needs, and those that it may have."""


# ------------------------------------------------------------------ YAML


def is_dataset(text: str) -> bool:
    """Whether a manifest is of a dataset: it has a `format`, and no framework."""
    try:
        data = parse(text, "manifest").data
    except ManifestError:
        return False
    return "format" in data and "framework" not in data


def read_dataset(what: pathlib.Path | str, source: str = "") -> DatasetManifest:
    """A dataset from a file (a Path) or from YAML text; ManifestError lists every fault."""
    if isinstance(what, pathlib.Path):
        source = source or str(what)
        what = text_of(what, source)
    source = source or "dataset"
    document = parse(what, source)
    try:
        dataset = msgspec.convert(document.data, DatasetManifest, strict=False)
    except (msgspec.ValidationError, RecursionError):
        dataset = None
    wrong = [*wrong_values(document), *_wrong_for_format(document)]
    if dataset is None or document.faults or wrong:
        faults = [*faults_of(document, DatasetManifest), *_wrong_for_format(document)]
        faults = sorted(faults, key=lambda fault: fault.line) or [Fault(1, "", "not a dataset")]
        raise ManifestError(source, [fault.show(source) for fault in faults])
    return _typed(dataset)


def check_dataset(dataset: DatasetManifest, source: str = "dataset") -> DatasetManifest:
    """A dataset that did not come through `read_dataset`, or ManifestError."""
    document = Document(data=msgspec.to_builtins(dataset), lines={(): 0})
    if faults := [*wrong_values(document), *_wrong_for_format(document)]:
        raise ManifestError(source, [fault.show(source) for fault in faults])
    return _typed(dataset)


def _typed(dataset: DatasetManifest) -> DatasetManifest:
    """With a whole version, and parameters as what they are: YAML gave text."""
    kind = FORMATS[dataset.format][0]
    parameters = msgspec.to_builtins(msgspec.convert(dataset.parameters, kind, strict=False))
    return replace(dataset, version=normalise(dataset.version), parameters=parameters)


def _wrong_for_format(document: Document) -> Iterator[Fault]:
    """Files and parameters that the format lacks, or does not know."""
    data = document.data if isinstance(document.data, dict) else {}
    if (name := data.get("format")) not in FORMATS:
        return  # the types say so
    kind, needed, possible = FORMATS[name]
    files = data.get("files") or {}
    for role in needed:
        if role not in files:
            line = document.line(("files",))
            yield Fault(line, f"files.{role}", f"expected for the format {name}, and it is missing")
    for role in files:
        if role not in (*needed, *possible):
            known = ", ".join((*needed, *possible)) or "none"
            line = document.line(("files", role))
            yield Fault(line, f"files.{role}", f"not known to the format {name}: {known}")
    try:
        msgspec.convert(data.get("parameters") or {}, kind, strict=False)
    except msgspec.ValidationError as exc:
        yield Fault(document.line(("parameters",)), "parameters", str(exc).replace("$.", ""))


# ------------------------------------------------------------------ the catalog


class Datasets:
    """The datasets that are known, by name."""

    def __init__(
        self, datasets: list[DatasetManifest] | None = None, groups: GroupsOf = in_no_group
    ) -> None:
        self._by_name: dict[str, dict[tuple[str, str], DatasetManifest]] = defaultdict(dict)
        self._groups = groups
        for dataset in datasets or []:
            self.add(dataset)

    def add(self, dataset: DatasetManifest) -> None:
        """Know a dataset, in place of one of the same name, version and, if private, owner."""
        dataset = check_dataset(dataset, dataset.name or "dataset")
        self._by_name[dataset.name.casefold()][_place(dataset)] = dataset

    def remove(self, dataset: DatasetManifest) -> None:
        """Forget a dataset; nothing happens if it is not known."""
        versions = self._by_name.get(dataset.name.casefold(), {})
        versions.pop(_place(dataset), None)
        if not versions:
            self._by_name.pop(dataset.name.casefold(), None)

    def all(self, user: str | None = None) -> list[DatasetManifest]:
        """Every dataset that a user may see (None: every one), by name, newest version first."""
        names = sorted(self._by_name)
        return [dataset for name in names for dataset in self._ordered(self._by_name[name], user)]

    def versions(self, reference: str, user: str | None = None) -> list[DatasetManifest]:
        """Every dataset that a `name` or `name@range` means, newest first."""
        name, wanted = parse_reference(reference)
        known = self._ordered(self._by_name.get(name.casefold(), {}), user)
        if not known:
            names = dict.fromkeys(dataset.name for dataset in self.all(user))
            raise UnknownNameError("dataset", name, list(names))
        met = [dataset for dataset in known if meets(dataset.version, wanted)]
        if not met:
            there = ", ".join(dataset.version for dataset in known)
            raise UnmetVersionError(f"no version of {name} meets {wanted}; there is: {there}")
        return met

    def resolve(self, reference: str, user: str | None = None) -> DatasetManifest:
        """The newest version that `name` or `name@range` means."""
        return self.versions(reference, user)[0]

    def _ordered(
        self, known: dict[tuple[str, str], DatasetManifest], user: str | None
    ) -> list[DatasetManifest]:
        """Newest first, of one version one's own first, then a private one of one's group; who may
        not see a private one does not find it, but the system itself (None) does, after others."""
        order = newest_first({version for version, _ in known})
        places = {version: place for place, version in enumerate(order)}

        def rank(dataset: DatasetManifest) -> tuple[int, bool, bool, str]:
            private = dataset.visibility == "private"
            own = private and dataset.owner == user
            ahead = not private if user is None else private
            return places[dataset.version], not own, not ahead, dataset.owner

        return sorted((d for d in known.values() if seen_by(d, user, self._groups)), key=rank)


def _place(dataset: DatasetManifest) -> tuple[str, str]:
    """Of one name, what tells a dataset from others: a private one takes nobody's place."""
    owner = dataset.owner if dataset.visibility == "private" else ""
    return normalise(dataset.version), owner


# ------------------------------------------------------------------ what comes with the package


def shipped_datasets() -> list[DatasetManifest]:
    """The datasets inside the package, their own files as package:// addresses."""
    folder = resources.files("manifests").joinpath("datasets")
    files = [file for file in folder.iterdir() if file.name.endswith((".yml", ".yaml"))]
    return [
        _from_package(read_dataset(file.read_text(encoding="utf-8"), file.name))
        for file in sorted(files, key=lambda file: file.name)
    ]


def _from_package(dataset: DatasetManifest) -> DatasetManifest:
    files: dict[str, Any] = {
        role: replace(file, url=absolute(file.url, PACKAGE_URL))
        for role, file in dataset.files.items()
    }
    return replace(dataset, files=files, labels_url=absolute(dataset.labels_url, PACKAGE_URL))
