"""Many manifests, many versions, private ones: what a reference means, and how soon."""

from __future__ import annotations

import time

import nodesemver
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bus.errors import UnknownNameError
from bus.messages import FrameworkWanted, Manifest, ModelResources
from manifests.catalog import Catalog, UnmetVersionError
from manifests.ordered import Ordered
from manifests.version import bounds, key, order

SLOW_NS = 20_000_000
"""Tells one name's newest from every manifest one by one; a quiet machine needs 0.02 ms."""


def small(name: str = "m", version: str = "1.0.0", framework: str = "onnxruntime") -> Manifest:
    return Manifest(
        name=name,
        version=version,
        framework=FrameworkWanted(name=framework),
        model=ModelResources(graph_path="m.onnx"),
    )


def quickest_ns(catalog: Catalog, reference: str) -> int:
    times_ns = []
    for _ in range(3):
        began_ns = time.perf_counter_ns()
        catalog.candidates(reference)
        times_ns.append(time.perf_counter_ns() - began_ns)
    return min(times_ns)


def test_among_ten_thousand_names() -> None:
    catalog = Catalog(small(f"Name-{number}") for number in range(10_000))
    (found,) = catalog.candidates("Name-5000@^1")
    assert found.name == "Name-5000"
    assert quickest_ns(catalog, "Name-5000@^1") < SLOW_NS


def test_among_ten_thousand_versions_of_one_name() -> None:
    catalog = Catalog(small(version=f"{n // 100}.{n % 100}.0") for n in range(10_000))
    # What every version being looked at would find: a hundred of each major.
    assert catalog.resolve("m@^7").version == "7.99.0"
    assert catalog.resolve("m").version == "99.99.0"
    assert len(catalog.versions("m@^7 || ^9")) == 200
    assert catalog.resolve("m@^7 || ^9").version == "9.99.0"
    assert quickest_ns(catalog, "m@^7") < SLOW_NS
    with pytest.raises(UnmetVersionError, match=r"there is: 99\.99\.0, .* and 9988 more"):
        catalog.resolve("m@^100")


LABELS = st.sampled_from(["", "", "", "-alpha", "-alpha.1", "-alpha.beta", "-2", "-10", "-rc.1"])
PARTS = st.integers(0, 3)
VERSION = st.builds(lambda a, b, c, d: f"{a}.{b}.{c}{d}", PARTS, PARTS, PARTS, LABELS)
ONE = st.builds(
    lambda operator, version: operator + version,
    st.sampled_from(["", "^", "~", ">=", "<=", "<", ">", "="]),
    VERSION | st.sampled_from(["1", "2.1", "1.x", "0"]),
)
RANGE = st.lists(ONE, min_size=1, max_size=2).map(" ".join)


@given(st.lists(VERSION, max_size=12, unique=True), st.lists(RANGE, min_size=1, max_size=2))
def test_bisection_finds_what_npm_would(versions: list[str], ranges: list[str]) -> None:
    wanted = " || ".join(ranges)
    held = Ordered()
    for version in versions:
        held.add(small(version=version))
    found = [manifest.version for manifest in held.within(wanted)]
    assert sorted(found) == sorted(v for v in versions if nodesemver.satisfies(v, wanted, True))
    ranks = [(order(v).prerelease is None, order(v)) for v in found]
    assert ranks == sorted(ranks, reverse=True)


@given(VERSION, VERSION)
def test_keys_sort_as_semantic_versions_do(one: str, other: str) -> None:
    assert (key(one) < key(other)) == (order(one) < order(other))
    assert (key(one) == key(other)) == (order(one) == order(other))


def test_bounds_of_any_version_are_none() -> None:
    assert bounds("*") == bounds("latest") == ((None, None),)
    assert bounds(">=1.2.0 <2.0.0")[0] == ((1, 2, 0, (1,)), (2, 0, 0, (1,)))


# ------------------------------------------------------------------ private models


def private(owner: str, **fields: str) -> Manifest:
    return replace(small(**fields), visibility="private", owner=owner)


def test_a_private_model_is_known_to_its_owner_only() -> None:
    catalog = Catalog([small("Public"), private("ann", name="Secret"), private("bob", name="Own")])
    assert catalog.names("ann") == ["Public", "Secret"]
    assert catalog.resolve("Secret", "ann").owner == "ann"
    with pytest.raises(UnknownNameError) as caught:
        catalog.resolve("Secret", "bob")
    assert "Secret" not in str(caught.value).partition("there is")[2]
    assert caught.value.nearest == ()
    assert [m.name for m in catalog.all("bob")] == ["Own", "Public"]
    assert len(catalog.all()) == 3


def test_a_private_model_beside_a_public_one_of_the_same_name() -> None:
    mine = replace(private("ann"), description="mine")
    catalog = Catalog([small(), mine])
    assert catalog.resolve("m", "ann").description == "mine"
    assert catalog.resolve("m", "bob").description == ""
    catalog.remove(mine)
    assert catalog.resolve("m", "ann").description == ""
    newer = private("bob", version="2.0.0")
    catalog.add(newer)
    with pytest.raises(UnmetVersionError, match=r"there is: 1\.0\.0$"):
        catalog.resolve("m@^2", "ann")


# ------------------------------------------------------------------ a library's models besides


class Shelf:
    """Two models, made anew each time that one is asked for."""

    def names(self) -> list[str]:
        return ["lib/One", "lib/Two"]

    def find(self, name: str) -> Manifest | None:
        names = {listed.casefold(): listed for listed in self.names()}
        return small(names[name.casefold()]) if name.casefold() in names else None


def test_a_librarys_models_are_met_by_name() -> None:
    catalog = Catalog([replace(small("lib/Two"), description="published")], zoo=Shelf())
    assert catalog.resolve("LIB/one@^1").name == "lib/One"
    assert catalog.resolve("lib/Two").description == "published"
    assert catalog.names() == ["lib/One", "lib/Two"]
    catalog.remove(small("lib/Two"))
    assert catalog.resolve("lib/Two").description == ""
    with pytest.raises(UnknownNameError, match="did you mean lib/One"):
        catalog.resolve("lib/Onn")
