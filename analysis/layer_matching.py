"""The layers of two runs beside each other: one to one, or many to one where some are fused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from analysis.layers import LayerRow
from bus.messages import GraphDescribed

Kind = Literal["conv", "matmul", "pool", "softmax", "concat", "recurrent", "before", "after"]
KINDS: tuple[tuple[Kind, str], ...] = (
    ("before", r"readvariable|constant|\bpad|_pad|quantizelinear|^cast$|embedding"),
    ("recurrent", r"lstm|gru|\brnn"),
    ("conv", r"conv"),
    ("matmul", r"gemm|matmul|linear|addmm|\bmm\b|bmm|dense|attention"),
    ("pool", r"pool"),
    ("softmax", r"softmax"),
    ("concat", r"concat|::cat\b"),
)
"""By the operator's name. All else works on what the layer before it made."""
ANCHORS = ("conv", "matmul", "pool", "softmax", "concat", "recurrent")
SAME_KIND, SAME_SHAPE, SAME_PLACE, GAP = 2, 1, 2, -1
MOST_CELLS = 4_000_000
ENDINGS = re.compile(r"(_output_\d+)?(_nchwc)?$|_token_\d+$")
CALL_NUMBER = re.compile(r"_\d+$")


class LayerPair(msgspec.Struct, frozen=True, kw_only=True):
    """What is done at one place of the network, on both sides. Times are medians, summed, in ns.

    by: how it was matched: `name` (the graph's names agree), `kind and shape`, or `kind` and order
    alone; empty where only one side has it. ratio: B / A.
    """

    a: list[str]
    b: list[str]
    a_ns: int
    b_ns: int
    difference_ns: int
    ratio: float | None
    by: str = ""


@dataclass(frozen=True)
class Layer:
    """A layer as it is matched."""

    name: str
    place: str
    kind: Kind
    shape: tuple[int, ...]
    median_ns: int


@dataclass
class Block:
    """An anchor and what belongs to it; without one: what stands before the first."""

    anchor: Layer | None
    layers: list[Layer] = field(default_factory=list)


def matched_layers(
    rows_a: Sequence[LayerRow],
    rows_b: Sequence[LayerRow],
    graph_a: GraphDescribed | None = None,
    graph_b: GraphDescribed | None = None,
) -> list[LayerPair]:
    """Pair the layers of two runs in execution order; every layer is in exactly one pair.

    Where most names agree (two runs in one framework) layers are paired by them. Otherwise the
    operators that do the work (convolutions, products, pools …) are aligned in their order
    (Needleman and Wunsch, 1970), by kind, output shape whatever its layout, and the place in the
    network that their names tell; what lies between (activations, normalisation, padding) goes
    with the operator that it works for, whichever side fused it.
    """
    one, two = _layers(rows_a, graph_a), _layers(rows_b, graph_b)
    if _alike(one, two):
        return _by_name(one, two)
    blocks_a, blocks_b = _blocks(one), _blocks(two)
    return [_pair(a, b) for a, b in _aligned(blocks_a, blocks_b)]


# ---------------------------------------------------------------- what a layer is


def _layers(rows: Sequence[LayerRow], graph: GraphDescribed | None) -> list[Layer]:
    modules = {layer.index: layer.module for layer in graph.layers} if graph is not None else {}
    return [
        Layer(
            name=row.name,
            place=place_of(modules.get(row.index) or row.name),
            kind=kind_of(row.operator or row.name),
            shape=tuple(sorted(s for s in row.output_shape if isinstance(s, int) and s > 1)),
            median_ns=row.median_ns,
        )
        for row in rows
    ]


def kind_of(operator: str) -> Kind:
    """What sort of work an operator does, whatever a framework calls it."""
    plain = operator.casefold()
    return next((kind for kind, pattern in KINDS if re.search(pattern, plain)), "after")


def place_of(name: str) -> str:
    """Where in the network a layer stands, in the words of its module: `_blocks.0._swish`.

    ONNX names are /path/of/module/Operator, of a fused node those of its last output; PyTorch's
    are path.of.module. The number of a repeated call is no part of it.
    """
    plain = ENDINGS.sub("", name.removeprefix("fused "))
    if "/" in plain:
        parts = [part for part in plain.split("/") if part]
        kept: list[str] = []
        for part in parts:
            if kept and part[:1].isupper():
                break  # the operator, and what an optimiser appended
            kept.append(part)
        plain = ".".join(kept)
    return CALL_NUMBER.sub("", plain)


# ---------------------------------------------------------------- the same framework


def _alike(one: Sequence[Layer], two: Sequence[Layer]) -> bool:
    shared = len(_numbered(one).keys() & _numbered(two).keys())
    return bool(shared) and shared >= 0.8 * max(len(one), len(two))


def _by_name(one: Sequence[Layer], two: Sequence[Layer]) -> list[LayerPair]:
    there = _numbered(two)
    pairs = [
        _pair(Block(None, [a]), Block(None, _listed(there.pop(key, None))))
        for key, a in _numbered(one).items()
    ]
    return pairs + [_pair(Block(None), Block(None, [b])) for b in there.values()]


def _numbered(layers: Sequence[Layer]) -> dict[tuple[str, int], Layer]:
    """Each layer by its name and how many of that name came before it."""
    came: Counter[str] = Counter()
    found = {}
    for layer in layers:
        found[layer.name, came[layer.name]] = layer
        came[layer.name] += 1
    return found


def _listed(layer: Layer | None) -> list[Layer]:
    return [layer] if layer is not None else []


# ---------------------------------------------------------------- another framework


def _blocks(layers: Sequence[Layer]) -> list[Block]:
    """Each anchor with the layers that work for it: paddings before it, activations after it."""
    blocks: list[Block] = []
    waiting: list[Layer] = []
    for layer in layers:
        if layer.kind in ANCHORS:
            blocks.append(Block(layer, [*waiting, layer]))
            waiting = []
        elif layer.kind == "before" or not blocks:
            waiting.append(layer)
        else:
            blocks[-1].layers += [*waiting, layer]
            waiting = []
    if waiting and blocks:
        blocks[-1].layers += waiting
    elif waiting:
        blocks.append(Block(None, waiting))
    return blocks


def _aligned(
    one: Sequence[Block], two: Sequence[Block]
) -> Iterator[tuple[Block | None, Block | None]]:
    """The best order-keeping pairing of the two sides' blocks."""
    if len(one) * len(two) > MOST_CELLS:
        yield from ((a, None) for a in one)
        yield from ((None, b) for b in two)
        return
    best = _table(one, two)
    i = j = 0
    while i < len(one) or j < len(two):
        if i < len(one) and j < len(two):
            score = _score(one[i], two[j])
            if score > 0 and best[i][j] == best[i + 1][j + 1] + score:
                yield one[i], two[j]
                i, j = i + 1, j + 1
                continue
        if j == len(two) or (i < len(one) and best[i][j] == best[i + 1][j] + GAP):
            yield one[i], None
            i += 1
        else:
            yield None, two[j]
            j += 1


def _table(one: Sequence[Block], two: Sequence[Block]) -> list[list[int]]:
    """What the rest of both sides is worth, from each place on."""
    best = [[GAP * (len(two) - j) for j in range(len(two) + 1)] for _ in range(len(one) + 1)]
    for i in range(len(one) - 1, -1, -1):
        best[i][len(two)] = GAP * (len(one) - i)
        for j in range(len(two) - 1, -1, -1):
            choices = [best[i + 1][j] + GAP, best[i][j + 1] + GAP]
            if (score := _score(one[i], two[j])) > 0:
                choices.append(best[i + 1][j + 1] + score)
            best[i][j] = max(choices)
    return best


def _score(a: Block, b: Block) -> int:
    """How well two blocks go together; 0: not at all."""
    if a.anchor is None or b.anchor is None or a.anchor.kind != b.anchor.kind:
        return 0
    shape = SAME_SHAPE if a.anchor.shape == b.anchor.shape else 0
    return SAME_KIND + shape + (SAME_PLACE if _places(a) & _places(b) else 0)


def _places(block: Block) -> set[str]:
    return {layer.place for layer in block.layers if layer.kind != "before"}


def _pair(a: Block | None, b: Block | None) -> LayerPair:
    one, two = (block.layers if block else [] for block in (a, b))
    a_ns, b_ns = (sum(layer.median_ns for layer in layers) for layers in (one, two))
    by = ""
    if one and two:
        assert a is not None and b is not None
        named = a.anchor is None or bool(_places(a) & _places(b))
        alike = not named and a.anchor is not None and b.anchor is not None
        shape = alike and a.anchor.shape == b.anchor.shape  # type: ignore[union-attr]
        by = "name" if named else "kind and shape" if shape else "kind"
    return LayerPair(
        a=[layer.name for layer in one],
        b=[layer.name for layer in two],
        a_ns=a_ns,
        b_ns=b_ns,
        difference_ns=b_ns - a_ns,
        ratio=b_ns / a_ns if one and two and a_ns else None,
        by=by,
    )
