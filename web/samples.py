"""Samples: pictures and sounds of shipped models that lie on this machine, for pages to show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from bus.packages import installed, read_url
from manifests.catalog import PACKAGE_URL, shipped

SAMPLES_URL = f"{PACKAGE_URL}samples/"
MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".wav": "audio/wav"}
"""What a page can show."""


@dataclass(frozen=True)
class Sample:
    """One of them. url: its package:// address; shown: its own on this server."""

    name: str
    url: str
    path: Path

    @property
    def shown(self) -> str:
        return f"/samples/{quote(self.name)}"

    @property
    def media(self) -> str:
        return MEDIA[self.path.suffix]


@cache
def by_name() -> dict[str, Sample]:
    """Every one of them; no other file of a package is ever served."""
    folder = Path(str(resources.files("manifests"))) / "models" / "samples"
    found = {
        path.name: Sample(path.name, SAMPLES_URL + path.name, path) for path in folder.iterdir()
    }
    for url in dict.fromkeys(one.url for manifest in shipped() for one in manifest.samples):
        name = url.rsplit("/", 1)[-1]
        if url.startswith("package:") and (path := installed(read_url(url))) is not None:
            found.setdefault(name, Sample(name, url, path))
    return {name: one for name, one in found.items() if one.path.suffix in MEDIA}


@cache
def by_url() -> dict[str, Sample]:
    """Their addresses."""
    return {one.url: one for one in by_name().values()}


@cache
def by_sha256() -> dict[str, Sample]:
    """Their contents' checksums, hexadecimal."""
    return {sha256(one.path.read_bytes()).hexdigest(): one for one in by_name().values()}
