"""What `Name-5000@^1` means among 10,000 manifests, against looking at every manifest.

Once with 10,000 names of one version, once with one name of 10,000 versions. Neither side may
remember an answer: each round asks for another name or another range.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable

import nodesemver
import numpy as np

from benchmarks.effort import Effort
from benchmarks.intervals import bootstrap
from benchmarks.report import Result, Row
from bus.messages import FrameworkWanted, Manifest, ModelResources
from manifests.catalog import Catalog
from manifests.version import order

BUDGET_MS = 1.0
MAJORS = 100

Resolve = Callable[[str], Manifest]


async def run(effort: Effort) -> Result:
    """Both kinds of catalog, ours and the peer's turn about."""
    names = [_model(f"Name-{number}", "1.0.0") for number in range(effort.manifests)]
    versions = [
        _model("Name", f"{number % MAJORS}.{number // MAJORS}.0")
        for number in range(effort.manifests)
    ]
    rows, raw = [], {}
    for what, manifests, reference in (
        ("one of many names", names, lambda n: f"Name-{(n * 97) % effort.manifests}@^1"),
        ("one name, many versions", versions, lambda n: f"Name@^{n % MAJORS}"),
    ):
        print(f"resolve: {len(manifests)} manifests, {what}", file=sys.stderr, flush=True)
        catalog = Catalog(manifests)
        catalog.resolve(reference(0))  # sorted once: nobody's first question counts
        ours, theirs = _measure(catalog.resolve, _every(manifests), reference, effort)
        raw[what] = {"ours_ms": ours, "theirs_ms": theirs}
        rows.append(
            Row(
                what=f"resolve among {len(manifests):,}: {what}",
                ours=float(np.median(ours)),
                theirs=float(np.median(theirs)),
                unit="ms",
                compared=bootstrap(_our_median, ours, theirs),
                sign="ms",
                at_most=BUDGET_MS,
                note="the peer looks at every manifest",
            )
        )
    return Result(rows, raw)


def _our_median(ours: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.asarray(np.median(ours, axis=-1))


def _measure(
    ours: Resolve, theirs: Resolve, reference: Callable[[int], str], effort: Effort
) -> tuple[list[float], list[float]]:
    """Milliseconds of each, in turn; both must find the same."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(1, effort.resolves + 1):
        found = []
        for resolve, taken in zip((ours, theirs), times, strict=True):
            began_ns = time.perf_counter_ns()
            found.append(resolve(reference(number)))
            taken.append((time.perf_counter_ns() - began_ns) / 1e6)
        assert found[0] == found[1]
    return times


def _every(manifests: Iterable[Manifest]) -> Resolve:
    """The peer: names, then ranges, of every manifest that there is, each time."""

    def resolve(reference: str) -> Manifest:
        name, _, wanted = reference.partition("@")
        met = [
            manifest
            for manifest in manifests
            if manifest.name.casefold() == name.casefold()
            and nodesemver.satisfies(manifest.version, wanted, True)
        ]
        return max(met, key=lambda manifest: order(manifest.version))

    return resolve


def _model(name: str, version: str) -> Manifest:
    return Manifest(
        name=name,
        version=version,
        framework=FrameworkWanted(name="onnxruntime"),
        model=ModelResources(graph_path="m.onnx"),
    )
