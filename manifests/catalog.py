"""Manifests in and out of YAML, and which one a name and a range of versions mean."""

from __future__ import annotations

import pathlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from bus.errors import InputError, ManifestError, UnknownNameError
from bus.messages import DatasetManifest, Manifest
from manifests.faults import faults_of
from manifests.ordered import Ordered
from manifests.original import modernise
from manifests.reading import MAX_BYTES, Document, Fault, parse, write
from manifests.rules import wrong_values
from manifests.runnable import GroupsOf, in_no_group, not_runnable, seen_by
from manifests.version import key, normalise, parse_reference

PACKAGE_URL = "package://mlmodelscope/manifests/models/"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
SHOWN_VERSIONS = 12
"""How many versions an error names; it always says how many more there are."""


class UnmetVersionError(InputError):
    """A model is known, and none of its versions lies in the range."""

    kind = "unmet_version"


class NotRunnableError(InputError):
    """A model is known, and its manifest is not complete enough to be run."""

    kind = "not_runnable"


# ------------------------------------------------------------------ YAML


def read(what: pathlib.Path | str, source: str = "") -> Manifest:
    """A manifest from a file (a Path) or from YAML text; ManifestError lists every fault."""
    if isinstance(what, pathlib.Path):
        source = source or str(what)
        what = text_of(what, source)
    source = source or "manifest"
    document = parse(what, source)
    modernise(document)
    try:
        manifest = msgspec.convert(document.data, Manifest, strict=False)
    except (msgspec.ValidationError, RecursionError):
        manifest = None
    if manifest is None or document.faults or any(wrong_values(document)):
        faults = faults_of(document) or [Fault(1, "", "not a manifest")]
        raise ManifestError(source, [fault.show(source) for fault in faults])
    return replace(manifest, version=normalise(manifest.version))


def text_of(path: pathlib.Path, source: str) -> str:
    """A manifest file's text; InputError or ManifestError where it cannot be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            text = f"{source}: larger than {MAX_BYTES} bytes: expected a manifest in YAML"
            raise ManifestError(source, [text])
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise InputError(f"{source}: {exc.strerror}: expected a manifest in YAML") from exc
    except UnicodeDecodeError as exc:
        text = f"{source}: byte {exc.start} is not UTF-8: expected a manifest in YAML"
        raise ManifestError(source, [text]) from exc


def check(manifest: Manifest, source: str = "manifest") -> Manifest:
    """A manifest that did not come through `read`, its version made whole, or ManifestError."""
    document = Document(data=msgspec.to_builtins(manifest), lines={(): 0})
    if faults := list(wrong_values(document)):
        raise ManifestError(source, [fault.show(source) for fault in faults])
    return replace(manifest, version=normalise(manifest.version))


def dump(manifest: Manifest | DatasetManifest) -> str:
    """A manifest as YAML that `read` gives back; fields at their defaults are left out."""
    return write(_without_defaults(manifest))


def _without_defaults(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {
            info.name: _without_defaults(getattr(value, info.name))
            for info in msgspec.structs.fields(value)
            if info.required or getattr(value, info.name) != _default(info)
        }
    if isinstance(value, list):
        return [_without_defaults(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_defaults(item) for name, item in value.items()}
    return value


def _default(info: msgspec.structs.FieldInfo) -> Any:
    made = info.default_factory
    return made() if callable(made) else info.default


# ------------------------------------------------------------------ the catalog


class Library(Protocol):
    """Models besides those that were added, each made when its name is asked for."""

    def names(self) -> Iterable[str]:
        """Every name that is listed."""

    def find(self, name: str) -> Manifest | None:
        """The model of a name, whatever its case."""


class Catalog:
    """The manifests that are known, by name; resolving looks at one name's newest first.

    user: who asks, and so whose private models count; None is the system itself. zoo: what was
    added under the same name, version and framework stands in the place of its models.
    """

    def __init__(
        self,
        manifests: Iterable[Manifest] = (),
        zoo: Library | None = None,
        groups: GroupsOf = in_no_group,
    ) -> None:
        self._by_name: dict[str, Ordered] = defaultdict(Ordered)
        self._groups = groups
        self._zoo, self._met = zoo, set[str]()
        for manifest in manifests:
            self.add(manifest)

    def add(self, manifest: Manifest) -> None:
        """Know a manifest, in place of one of the same name, version and framework."""
        manifest = check(manifest, manifest.name or "manifest")
        self._by_name[manifest.name.casefold()].add(manifest)

    def remove(self, manifest: Manifest) -> None:
        """Forget a manifest; nothing happens if it is not known."""
        known = self._by_name.get(manifest.name.casefold(), Ordered())
        known.remove(manifest)
        self._met.discard(manifest.name.casefold())
        if not len(known):
            self._by_name.pop(manifest.name.casefold(), None)

    def names(self, user: str | None = None) -> list[str]:
        """Every name, as its newest version writes it."""
        for name in self._zoo.names() if self._zoo is not None else ():
            self._meet(name)
        firsts = (self._first_seen(known, user) for known in self._by_name.values())
        return sorted((m.name for m in firsts if m is not None), key=str.casefold)

    def all(self, user: str | None = None) -> list[Manifest]:
        """Every manifest, by name, newest version first."""
        return [
            manifest
            for name in self.names(user)
            for manifest in self._by_name[name.casefold()].all()
            if self._sees(user, manifest)
        ]

    def versions(self, reference: str, user: str | None = None) -> list[Manifest]:
        """Every manifest that a `name` or `name@range` means, newest first."""
        known, wanted = self._known(reference, user)
        met = [m for m in known.within(wanted) if self._sees(user, m)]
        if not met:
            raise self._unmet(known, wanted, user)
        return met

    def candidates(
        self,
        reference: str,
        wanted: Callable[[str], bool] | None = None,
        user: str | None = None,
    ) -> list[Manifest]:
        """The newest runnable version that `reference` means, in each framework that has it.

        wanted: asked with a framework's name, it narrows the choice where it leaves any.
        """
        known, text = self._known(reference, user)
        for narrow in (wanted, None) if wanted is not None else (None,):
            met = (
                manifest
                for manifest in known.within(text)
                if self._sees(user, manifest)
                and (narrow is None or narrow(manifest.framework.name))
            )
            if found := _newest_runnable(met):
                return found
        raise self._unmet(known, text, user)

    def resolve(self, reference: str, user: str | None = None) -> Manifest:
        """The newest runnable version that `name` or `name@range` means."""
        return self.candidates(reference, user=user)[0]

    def _sees(self, user: str | None, manifest: Manifest) -> bool:
        return seen_by(manifest, user, self._groups)

    def _first_seen(self, known: Ordered, user: str | None) -> Manifest | None:
        return next((manifest for manifest in known.all() if self._sees(user, manifest)), None)

    def _unmet(self, known: Ordered, wanted: str, user: str | None) -> UnmetVersionError:
        there = [manifest for manifest in known.all() if self._sees(user, manifest)]
        versions = list(dict.fromkeys(manifest.version for manifest in there))
        text = ", ".join(versions[:SHOWN_VERSIONS])
        if len(versions) > SHOWN_VERSIONS:
            text += f" and {len(versions) - SHOWN_VERSIONS} more"
        return UnmetVersionError(f"no version of {there[0].name} meets {wanted}; there is: {text}")

    def _known(self, reference: str, user: str | None) -> tuple[Ordered, str]:
        name, wanted = parse_reference(reference)
        self._meet(name)
        known = self._by_name.get(name.casefold())
        if known is None or self._first_seen(known, user) is None:
            raise UnknownNameError("model", name, self.names(user))
        return known, wanted

    def _meet(self, name: str) -> None:
        """Know the zoo's model of this name, unless another stands in its place."""
        name = name.casefold()
        if self._zoo is None or name in self._met:
            return
        if (manifest := self._zoo.find(name)) is not None:
            self._met.add(name)
            self._by_name[name].add(manifest, unless_held=True)


def _newest_runnable(met: Iterator[Manifest]) -> list[Manifest]:
    """Of manifests newest first: those of the first runnable one's version; none of none."""
    first: Manifest | None = None
    found: list[Manifest] = []
    for manifest in met:
        first = first or manifest
        if found and key(manifest.version) != key(found[0].version):
            break
        if not not_runnable(manifest) and manifest.version == (found or [manifest])[0].version:
            found.append(manifest)
    if first is not None and not found:
        raise NotRunnableError(f"{first.name} {first.version}: {not_runnable(first)}")
    return found


# ------------------------------------------------------------------ what comes with the package


def shipped() -> list[Manifest]:
    """The manifests inside the package, their own files as package:// addresses."""
    folder = resources.files("manifests").joinpath("models")
    files = [file for file in folder.iterdir() if file.name.endswith((".yml", ".yaml"))]
    return [
        _from_package(read(file.read_text(encoding="utf-8"), file.name))
        for file in sorted(files, key=lambda file: file.name)
    ]


def _from_package(manifest: Manifest) -> Manifest:
    model = manifest.model
    if not model.base_url:
        graph, weights = absolute(model.graph_path), absolute(model.weights_path)
        model = replace(model, graph_path=graph, weights_path=weights)
    else:
        model = replace(model, base_url=absolute(model.base_url))
    inputs = [
        replace(
            one,
            parameters=replace(one.parameters, tokenizer=absolute(one.parameters.tokenizer)),
        )
        for one in manifest.inputs
    ]
    outputs = [
        replace(
            output,
            parameters=replace(
                output.parameters,
                url=absolute(output.parameters.url),
                features_url=absolute(output.parameters.features_url),
            ),
        )
        for output in manifest.outputs
    ]
    samples = [replace(sample, url=absolute(sample.url)) for sample in manifest.samples]
    return replace(manifest, model=model, inputs=inputs, outputs=outputs, samples=samples)


def absolute(path: str, folder_url: str = PACKAGE_URL) -> str:
    """A path beside a shipped manifest as a package:// address; addresses stay as they are."""
    return path if not path or _SCHEME.match(path) else folder_url + path.removeprefix("./")
