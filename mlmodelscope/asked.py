"""What a person asked to have evaluated, as the command line read it."""

from __future__ import annotations

from dataclasses import dataclass

from bus.messages import Level


@dataclass(frozen=True)
class Asked:
    """What a person asked to have evaluated."""

    model: str
    inputs: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    runs: int
    warmup: int
    trace: Level
    framework: str
    device: str
    node: str
    threads: int
    seed: int
    top_k: int
    timeout_s: float
    environment: str = ""
