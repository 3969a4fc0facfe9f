"""Where two runs of one network part: their layers' outputs, place by place, in execution order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from analysis.layer_matching import place_of
from bus.errors import InputError
from bus.messages import JobStarted, LayerOutput, LayersSaid, Message

THRESHOLD = 1e-3


class LayerDivergenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One place of the network. difference: the largest among the sampled numbers; relative: of
    the largest that A gave there. note: why there is none."""

    place: str
    a: str
    b: str
    shape: list[int]
    difference: float | None = None
    relative: float | None = None
    correlation: float | None = None
    note: str = ""


class LayerDivergence(msgspec.Struct, frozen=True, kw_only=True):
    """first: the first place whose relative difference exceeds the threshold; empty: none does.

    only_a, only_b: places that the other side does not have.
    """

    input: str
    threshold: float
    places: int
    first: str
    only_a: list[str]
    only_b: list[str]
    rows: list[LayerDivergenceRow]


def layer_divergence(
    facts_a: Sequence[Message], facts_b: Sequence[Message], threshold: float = THRESHOLD
) -> LayerDivergence:
    """Compare what the layers of two evaluations gave for the same input, by graph node.

    Of the operators at one place of the network (a convolution's padding and product, say) the last
    one's output counts, as it is what a module gives back. Raises InputError where one side did not
    tell its layers, or told them of another input.
    """
    (input_a, one), (input_b, two) = _places(facts_a, "A"), _places(facts_b, "B")
    if input_a != input_b:
        text = f"A told its layers for {input_a}, B for {input_b}"
        raise InputError(f"{text}; expected the same input: give both the same --input first")
    rows = [_row(place, one[place], two[place]) for place in one if place in two]
    if not rows:
        names = ", ".join(list(one)[:3]), ", ".join(list(two)[:3])
        text = f"no layer of A ({names[0]} …) has its name in B ({names[1]} …)"
        raise InputError(f"{text}: expected two forms of one network")
    parted = [row for row in rows if row.relative is not None and row.relative > threshold]
    return LayerDivergence(
        input=input_a,
        threshold=threshold,
        places=len(rows),
        first=parted[0].place if parted else "",
        only_a=[place for place in one if place not in two],
        only_b=[place for place in two if place not in one],
        rows=rows,
    )


def _places(facts: Sequence[Message], side: str) -> tuple[str, dict[str, LayerOutput]]:
    """The input, and what each place gave, in execution order; a place used again has a number."""
    job = next((fact.job_id for fact in facts if isinstance(fact, JobStarted)), "")
    told = [fact for fact in facts if isinstance(fact, LayersSaid) and fact.job_id == job]
    if not told:
        text = f"{side} did not tell what its layers gave"
        raise InputError(f"{text}: run it with --setting layer_outputs=1 (onnxruntime, pytorch)")
    layers = [layer for fact in sorted(told, key=lambda f: f.first) for layer in fact.layers]
    found: dict[str, LayerOutput] = {}
    came: Counter[str] = Counter()
    before = ""
    for layer in layers:
        place = place_of(layer.name)
        came[place] += place != before
        number = came[place]
        found[place if number == 1 else f"{place} #{number}"] = layer
        before = place
    return told[0].input, found


def _row(place: str, one: LayerOutput, two: LayerOutput) -> LayerDivergenceRow:
    row = LayerDivergenceRow(place=place, a=one.name, b=two.name, shape=one.shape)
    if one.shape != two.shape:
        text = f"shapes differ: {one.shape} and {two.shape}"
        return msgspec.structs.replace(row, note=f"{text}: another layout, or fused on one side")
    a, b = (np.frombuffer(each.sample, "<f4").astype(np.float64) for each in (one, two))
    difference = float(np.abs(a - b).max(initial=0.0))
    scale = max(abs(one.low), abs(one.high))
    varies = len(a) > 1 and a.std() > 0 and b.std() > 0
    return msgspec.structs.replace(
        row,
        difference=difference,
        relative=difference / scale if scale else float(difference > 0),
        correlation=float(np.corrcoef(a, b)[0, 1]) if varies else None,
    )
