"""Manifests in and out of YAML, and which one a name and a range of versions mean."""

from __future__ import annotations

import pathlib
import re
from collections import defaultdict
from collections.abc import Callable
from importlib import resources
from typing import Any

import msgspec
from msgspec.structs import replace

from bus.errors import InputError, ManifestError, UnknownNameError
from bus.messages import Manifest
from manifests.faults import faults_of, wrong_values
from manifests.reading import MAX_BYTES, Document, Fault, parse, write
from manifests.version import meets, normalise, order, parse_reference

PACKAGE_URL = "package://mlmodelscope/manifests/models/"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PLACEHOLDER_CODE = re.compile(r"\[*\s*code\s*\]*", re.IGNORECASE)


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
        what = _text_of(what, source)
    source = source or "manifest"
    document = parse(what, source)
    try:
        manifest = msgspec.convert(document.data, Manifest, strict=False)
    except (msgspec.ValidationError, RecursionError):
        manifest = None
    if manifest is None or document.faults or any(wrong_values(document)):
        faults = faults_of(document) or [Fault(1, "", "not a manifest")]
        raise ManifestError(source, [fault.show(source) for fault in faults])
    return replace(manifest, version=normalise(manifest.version))


def _text_of(path: pathlib.Path, source: str) -> str:
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


def dump(manifest: Manifest) -> str:
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
    return value


def _default(info: msgspec.structs.FieldInfo) -> Any:
    made = info.default_factory
    return made() if callable(made) else info.default


# ------------------------------------------------------------------ runnable or not


def not_runnable(manifest: Manifest) -> str:
    """Why a manifest cannot be run, or "" where nothing in it stands against that."""
    for name in ("preprocess", "postprocess"):
        if code := _text_in(getattr(manifest, name)):
            if _PLACEHOLDER_CODE.fullmatch(code):
                return f"{name} is a placeholder ([[code]]): put the steps in its place"
            return f"{name}: custom code is not supported in this version"
    for field, url in _urls(manifest):
        if "…" in url or "..." in url:
            return f"{field} is a placeholder ({url}): put the whole address in its place"
    if manifest.model.is_archive:
        return "model.is_archive: archives are not unpacked in this version: name the files"
    if not manifest.model.graph_path:
        return "model.graph_path is missing: say where the model's file is"
    return ""


def _text_in(code: Any) -> str:
    if isinstance(code, list):
        return " ".join(text for item in code if (text := _text_in(item)))
    return str(code).strip()


def _urls(manifest: Manifest) -> list[tuple[str, str]]:
    model = manifest.model
    urls = [(f"model.{n}", getattr(model, n)) for n in ("base_url", "graph_path", "weights_path")]
    for index, output in enumerate(manifest.outputs):
        for name in ("url", "features_url"):
            urls.append((f"outputs[{index}].parameters.{name}", getattr(output.parameters, name)))
    urls += [(f"samples[{i}].url", sample.url) for i, sample in enumerate(manifest.samples)]
    return urls


# ------------------------------------------------------------------ the catalog


class Catalog:
    """The manifests that are known, by name; two frameworks may share a name and a version."""

    def __init__(self, manifests: list[Manifest] | None = None) -> None:
        self._by_name: dict[str, dict[tuple[str, str], Manifest]] = defaultdict(dict)
        for manifest in manifests or []:
            self.add(manifest)

    def add(self, manifest: Manifest) -> None:
        """Know a manifest, in place of one of the same name, version and framework."""
        manifest = check(manifest, manifest.name or "manifest")
        self._by_name[manifest.name.casefold()][_variant(manifest)] = manifest

    def remove(self, manifest: Manifest) -> None:
        """Forget a manifest; nothing happens if it is not known."""
        name = manifest.name.casefold()
        versions = self._by_name.get(name, {})
        versions.pop(_variant(manifest), None)
        if not versions:
            self._by_name.pop(name, None)

    def names(self) -> list[str]:
        """Every name, as its newest version writes it."""
        return sorted((_newest_first(v)[0].name for v in self._by_name.values()), key=str.casefold)

    def all(self) -> list[Manifest]:
        """Every manifest, by name, newest version first."""
        return [m for name in self.names() for m in _newest_first(self._by_name[name.casefold()])]

    def versions(self, reference: str) -> list[Manifest]:
        """Every manifest that a `name` or `name@range` means, newest first."""
        name, wanted = parse_reference(reference)
        known = self._by_name.get(name.casefold())
        if not known:
            raise UnknownNameError("model", name, self.names())
        met = [m for m in _newest_first(known) if meets(m.version, wanted)]
        if not met:
            there = ", ".join(dict.fromkeys(m.version for m in _newest_first(known)))
            raise UnmetVersionError(f"no version of {name} meets {wanted}; there is: {there}")
        return met

    def candidates(
        self, reference: str, wanted: Callable[[str], bool] | None = None
    ) -> list[Manifest]:
        """The newest runnable version that `reference` means, in each framework that has it.

        wanted: asked with a framework's name, it narrows the choice where it leaves any.
        """
        met = self.versions(reference)
        met = [m for m in met if wanted is None or wanted(m.framework.name)] or met
        runnable = [m for m in met if not not_runnable(m)]
        if not runnable:
            first = met[0]
            raise NotRunnableError(f"{first.name} {first.version}: {not_runnable(first)}")
        # A release before a pre-release, as newest() has it.
        return [m for m in runnable if m.version == runnable[0].version]

    def resolve(self, reference: str) -> Manifest:
        """The newest runnable version that `name` or `name@range` means."""
        return self.candidates(reference)[0]


def _variant(manifest: Manifest) -> tuple[str, str]:
    return normalise(manifest.version), manifest.framework.name.casefold()


def _newest_first(versions: dict[tuple[str, str], Manifest]) -> list[Manifest]:
    """Releases before pre-releases, each newest first; frameworks in the order of their names."""
    by_framework = sorted(versions.values(), key=lambda m: m.framework.name.casefold())

    def rank(manifest: Manifest) -> Any:
        version = order(manifest.version)
        return version.prerelease is None, version

    return sorted(by_framework, key=rank, reverse=True)


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
        graph, weights = _absolute(model.graph_path), _absolute(model.weights_path)
        model = replace(model, graph_path=graph, weights_path=weights)
    outputs = [
        replace(
            output,
            parameters=replace(
                output.parameters,
                url=_absolute(output.parameters.url),
                features_url=_absolute(output.parameters.features_url),
            ),
        )
        for output in manifest.outputs
    ]
    samples = [replace(sample, url=_absolute(sample.url)) for sample in manifest.samples]
    return replace(manifest, model=model, outputs=outputs, samples=samples)


def _absolute(path: str) -> str:
    return path if not path or _SCHEME.match(path) else PACKAGE_URL + path.removeprefix("./")
