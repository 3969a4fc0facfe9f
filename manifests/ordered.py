"""All versions of one model: sorted once, then looked into by bisection, newest first."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Any

from bus.messages import Manifest
from manifests.version import bounds, key, meets, normalise


class Ordered:
    """The manifests of one name.

    Two of one version lie side by side where they are for different frameworks, or where one is
    somebody's own (private): that one comes first.
    """

    def __init__(self) -> None:
        self._by_variant: dict[tuple[str, str, str], Manifest] = {}
        self._newest_first: list[Manifest] | None = None
        self._ranks: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return len(self._by_variant)

    def add(self, manifest: Manifest, *, unless_held: bool = False) -> None:
        """Hold a manifest, in place of the same variant (or not, where that is held)."""
        if unless_held and _variant(manifest) in self._by_variant:
            return
        self._by_variant[_variant(manifest)] = manifest
        self._newest_first = None

    def remove(self, manifest: Manifest) -> None:
        """Hold a variant no more; nothing happens if it was not held."""
        self._by_variant.pop(_variant(manifest), None)
        self._newest_first = None

    def all(self) -> list[Manifest]:
        """Releases before pre-releases, each newest first; of one version, ONNX Runtime's first."""
        if self._newest_first is None:
            beside = sorted(
                self._by_variant.values(),
                key=lambda m: (*_framework_rank(m.framework.name), m.visibility != "private"),
            )
            self._newest_first = sorted(beside, key=_rank, reverse=True)
            self._ranks = [_rank(manifest) for manifest in reversed(self._newest_first)]
        return self._newest_first

    def within(self, wanted: str) -> Iterator[Manifest]:
        """Those in a range of versions, newest first, as far as they are asked for."""
        manifests = self.all()
        for first, last in self._places(wanted):
            for manifest in islice(manifests, first, last):
                if meets(manifest.version, wanted):
                    yield manifest

    def _places(self, wanted: str) -> list[tuple[int, int]]:
        """Where in the list a range may lie: places from … to, in order, without overlap."""
        count, found = len(self._ranks), []
        for low, high in bounds(wanted):
            for released in (True, False):
                first = bisect_left(self._ranks, (released, low or ()))
                last = bisect_right(self._ranks, (released, high or (math.inf,)))
                found.append((count - last, count - first))
        places: list[tuple[int, int]] = []
        for first, last in sorted(found):
            first = max(first, places[-1][1]) if places else first
            if first < last:
                places.append((first, last))
        return places


def _framework_rank(name: str) -> tuple[bool, str]:
    """ONNX Runtime loads in a tenth of the others' time; those come in the order of their names."""
    plain = re.sub(r"[^a-z0-9]", "", name.casefold())
    return plain != "onnxruntime", plain


def _rank(manifest: Manifest) -> tuple[Any, ...]:
    version = key(manifest.version)
    return version[3] == (1,), version


def _variant(manifest: Manifest) -> tuple[str, str, str]:
    owner = manifest.owner if manifest.visibility == "private" else ""
    return normalise(manifest.version), manifest.framework.name.casefold(), owner
