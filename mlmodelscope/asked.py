"""What a person asked to have evaluated, as the command line read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from bus.errors import InputError
from bus.messages import Level, Preference, Scenario


@dataclass(frozen=True)
class OnNodes:
    """What is asked of the nodes. spread: on how many of those that fit (0: all); wait_s: how long
    to wait for one that is not there yet."""

    requires: tuple[str, ...] = ()
    prefer: Preference = ""
    spread: int = 1
    priority: int = 0
    wait_s: float = 0.0


ANY_NODE = OnNodes()


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
    settings: dict[str, str | int] = field(default_factory=dict)
    leveled: bool = True
    traceparent: str = ""
    otlp_endpoint: str = ""
    serialize: bool = False
    scenario: Scenario | None = None
    container: bool = False
    on: OnNodes = ANY_NODE
    full_outputs: bool = False


def as_arguments(asked: Any) -> dict[str, Any]:
    """An Asked or a Pass as what Client.evaluate takes, but for the model."""
    given = {name: value for name, value in asdict(asked).items() if name != "model"}
    on = given.pop("on")
    return {**given, **on}


def read_settings(given: list[str] | None) -> dict[str, str | int]:
    """`NAME=VALUE` of --setting, each; InputError naming the one that is not."""
    found: dict[str, str | int] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise InputError(
                f"--setting {text!r}: expected NAME=VALUE, like provider=CPUExecutionProvider"
            )
        found[name.strip()] = value.strip()
    return found


def listed(text: str) -> tuple[str, ...]:
    """The parts of a list with commas, each once."""
    return tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
