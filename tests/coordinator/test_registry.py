"""Alive means: announced, and heard, in the same incarnation."""

from __future__ import annotations

from collections.abc import Callable

from bus.messages import Device, NodeAnnounced
from coordinator.registry import Gone, Registry

Make = Callable[..., NodeAnnounced]


def test_alive_needs_both_in_the_same_incarnation(node: Make) -> None:
    registry = Registry()
    one = node("n1", incarnation="a")
    assert registry.announced("n1", one) == []
    assert registry.get("n1") is None
    assert registry.heard("n1", "b") == []
    assert registry.get("n1") is None
    assert registry.heard("n1", "a") == []
    assert registry.get("n1") == one and len(registry) == 1


def test_how_lives_end(node: Make) -> None:
    registry = Registry()
    registry.announced("n1", node("n1", incarnation="a"))
    registry.heard("n1", "a")
    assert registry.silent("n1") == [Gone("n1", "a", "fell silent")]
    assert registry.silent("n1") == []
    registry.heard("n1", "a")
    assert registry.announced("n1", node("n1", incarnation="b")) == [
        Gone("n1", "a", "was started anew", anew=True)
    ]
    assert registry.heard("n1", "b") == []
    assert registry.heard("n1", "c") == [Gone("n1", "b", "was started anew", anew=True)]
    registry.announced("n1", node("n1", incarnation="c"))
    assert registry.announced("n1", None) == [Gone("n1", "c", "left")]
    assert len(registry) == 0 and registry.kinds() == []


def test_new_capabilities_of_the_same_life_end_nothing(node: Make) -> None:
    registry = Registry()
    registry.announced("n1", node("n1", cores=4))
    registry.heard("n1", "n1-first")
    assert registry.announced("n1", node("n1", cores=8)) == []
    assert registry.kinds()[0].example.cores == 8


def test_an_announcement_under_anothers_key_is_nobody(node: Make) -> None:
    registry = Registry()
    registry.announced("n2", node("n1"))
    registry.heard("n2", "n1-first")
    registry.announced("a.b", node("a.b"))
    registry.heard("a.b", "a.b-first")
    assert registry.alive() == []


def test_nodes_that_are_alike_are_one_kind(node: Make) -> None:
    registry = Registry()
    gpu = [Device(kind="gpu", name="a gpu")]
    for name in ("n3", "n1", "n2"):
        registry.announced(name, node(name, devices=gpu if name == "n2" else []))
        registry.heard(name, f"{name}-first")
    assert sorted(kind.nodes for kind in registry.kinds()) == [("n1", "n3"), ("n2",)]
    assert [n.node_id for n in registry.alive()] == ["n1", "n2", "n3"]
    assert registry.frameworks() == ["onnxruntime"]
