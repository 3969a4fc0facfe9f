"""Spans as a traced run makes them: the layers of a model, query after query, with six tags."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FRAMEWORK = 3
LAYERS = 100
OPERATORS = ("Conv", "Clip", "Conv", "Add")
SEED = 11


@dataclass(frozen=True)
class Made:
    """One span before it is written down in anybody's way."""

    name: str
    start_ns: int
    duration_ns: int
    tags: dict[str, Any]


def spans(count: int, first_ns: int) -> Iterator[Made]:
    """Always the same ones, but for when they begin: times differ with every query."""
    chance = random.Random(SEED)
    usual_ns = [chance.randint(5_000, 300_000) for _ in range(LAYERS)]
    start_ns = first_ns
    for number in range(count):
        query, layer = divmod(number, LAYERS)
        operator = OPERATORS[layer % len(OPERATORS)]
        took_ns = usual_ns[layer] + chance.randrange(usual_ns[layer] // 8)
        tags = {
            "query": query,
            "operator": operator,
            "index": layer,
            "provider": "CPUExecutionProvider",
            "output_shape": [1, 24 + layer, 56, 56],
            "cpu_ns": took_ns - chance.randrange(2_000),
        }
        yield Made(f"/blocks.{layer // 6}/{operator}_{layer}", start_ns, took_ns, tags)
        start_ns += took_ns + chance.randrange(200, 3_000)
