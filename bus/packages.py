"""Addresses inside packages (`package://` of pip, `npm://`): their parts, and where they lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote

from bus.errors import AssetError

OUR_PACKAGE = "mlmodelscope"
_WHEEL = re.compile(
    r"package://(?P<name>[A-Za-z0-9][\w.-]*)(==(?P<version>[\w.+!-]+))?/(?P<path>.+)", re.ASCII
)
_TARBALL = re.compile(
    r"npm://(?P<name>(@[a-z0-9~][\w.~-]*/)?[A-Za-z0-9~][\w.~-]*)@(?P<version>\d[\w.+-]*)"
    r"/(?P<path>.+)",
    re.ASCII,
)
EXPECTED = {
    "package": "package://NAME==VERSION/PATH, a folder's path ending in /",
    "npm": "npm://[@scope/]NAME@VERSION/PATH, a folder's path ending in /",
}


@dataclass(frozen=True, slots=True)
class Inside:
    """A file of a package, or a folder where the path ends in /."""

    url: str
    name: str
    version: str
    path: str

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


def read_url(url: str) -> Inside:
    """The parts of a package's URL; AssetError says how one is written."""
    scheme = url.partition(":")[0]
    pattern = _WHEEL if scheme == "package" else _TARBALL
    match = pattern.fullmatch(unquote(url))
    if match is None or {"..", ".", ""} & set(match["path"].removesuffix("/").split("/")):
        raise AssetError(f"{url!r}: expected {EXPECTED[scheme]}")
    return Inside(url, match["name"], match["version"] or "", match["path"])


def installed(inside: Inside) -> Path | None:
    """Where it lies in this environment, if just that version of the package is installed here."""
    if inside.name == OUR_PACKAGE and not inside.version:
        return Path(__file__).parents[1] / inside.path
    try:
        found = metadata.distribution(inside.name)
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(found.locate_file(inside.path)))
    there = path.is_dir() if inside.is_folder else path.is_file()
    return path if there and inside.version in ("", found.version) else None
