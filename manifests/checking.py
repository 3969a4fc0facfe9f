"""A manifest's text as a person writes it: of what it is, each fault with its line and field."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bus.errors import ManifestError
from bus.messages import DatasetManifest, Manifest
from manifests.catalog import read
from manifests.datasets import is_dataset, read_dataset
from manifests.reading import Fault

_SOURCE = "manifest"
_SHOWN = re.compile(r"manifest(?::(\d+))?: (?:([\w.\[\]-]+): )?(.*)", re.DOTALL)


@dataclass(frozen=True)
class Checked:
    """What a text is (`model` or `dataset`), and either its manifest or what is wrong with it."""

    kind: str
    manifest: Manifest | DatasetManifest | None
    faults: list[Fault]


def checked(text: str) -> Checked:
    """Read a manifest of either kind; a fault of no line has line 0."""
    dataset = is_dataset(text)
    kind = "dataset" if dataset else "model"
    try:
        manifest = read_dataset(text, _SOURCE) if dataset else read(text, _SOURCE)
    except ManifestError as exc:
        return Checked(kind, None, [_fault(shown) for shown in exc.faults])
    return Checked(kind, manifest, [])


def _fault(shown: str) -> Fault:
    """A fault as it was before it was written for people (reading.Fault.show)."""
    match = _SHOWN.fullmatch(shown)
    if match is None:
        return Fault(0, "", shown)
    return Fault(int(match[1] or 0), match[2] or "", match[3])
