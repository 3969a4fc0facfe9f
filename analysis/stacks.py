"""What differs between two stacks of software: of two images, or of what two evaluations ran in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from bus.messages import Stack


class StackRow(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is otherwise, or that only one of them has (the other is empty)."""

    kind: str
    name: str
    a: str
    b: str


KINDS = (
    ("package", "packages"),
    ("system package", "system_packages"),
    ("library", "libraries"),
    ("variable", "variables"),
)
SOMETIMES = ("libraries", "system_packages")
"""Recorded only where a model was opened, or in a container: none recorded is not none there."""
NOT_RECORDED = "n/a: not recorded"
ABSENT = ""
UNKNOWN = "(version unknown)"


def difference(a: Stack, b: Stack) -> list[StackRow]:
    """Everything that differs: the image, Python, the distribution, then each kind by name."""
    return [*_words(a, b), *_layers(a, b), *(row for kind in KINDS for row in _named(kind, a, b))]


def _words(a: Stack, b: Stack) -> Iterator[StackRow]:
    for name in ("image", "digest", "python", "system"):
        one, other = getattr(a, name), getattr(b, name)
        if one != other:
            yield StackRow(kind=name, name="", a=one, b=other)


def _layers(a: Stack, b: Stack) -> Iterator[StackRow]:
    """An image's layers that the other has not; those from where they part stand in order."""
    for layer in a.layers:
        if layer not in b.layers:
            yield StackRow(kind="layer", name=layer, a="has it", b=ABSENT)
    for layer in b.layers:
        if layer not in a.layers:
            yield StackRow(kind="layer", name=layer, a=ABSENT, b="has it")


def _named(kind: tuple[str, str], a: Stack, b: Stack) -> Iterator[StackRow]:
    one: Mapping[str, str] = getattr(a, kind[1])
    other: Mapping[str, str] = getattr(b, kind[1])
    if kind[1] in SOMETIMES and bool(one) != bool(other):
        counts = [f"{len(found)} recorded" if found else NOT_RECORDED for found in (one, other)]
        yield StackRow(kind=kind[0], name="", a=counts[0], b=counts[1])
        return
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name) or (name in one) != (name in other):
            yield StackRow(kind=kind[0], name=name, a=_shown(one, name), b=_shown(other, name))


def _shown(found: Mapping[str, str], name: str) -> str:
    return (found[name] or UNKNOWN) if name in found else ABSENT
