"""A job's settings for its container, `container.memory=2GiB`, and what a node lets it have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bus.errors import InputError
from bus.sizes import read_size
from predictor_node import capabilities
from predictor_node.launching import Limits

PREFIX = "container."
SETTINGS = {
    "container.memory": "a size such as 2GiB",
    "container.cpus": "a number of CPUs such as 2 or 0.5",
    "container.network": "on or off",
}
LEAST_BYTES = 32 << 20
"""With less not even an interpreter starts."""
PART = 0.8
"""Of the machine's memory: what a container may have where nothing else is said."""


@dataclass(frozen=True)
class Allowed:
    """The most that a container may have on this node."""

    memory_bytes: int = 0
    network: bool = False

    @property
    def most_bytes(self) -> int:
        """What the node's settings say, or a part of what the machine has."""
        return self.memory_bytes or int(PART * capabilities.memory_bytes())


def without(settings: Mapping[str, str | int]) -> dict[str, str | int]:
    """The settings that are not a container's."""
    return {name: value for name, value in settings.items() if not name.startswith(PREFIX)}


def none_meant(settings: Mapping[str, str | int], environment: str) -> None:
    """A job that runs in no container must not believe that it is limited."""
    if meant := [name for name in settings if name.startswith(PREFIX)]:
        raise InputError(
            f"{', '.join(meant)}: this job runs in environment {environment}, in no container: "
            "ask with --container, for a model whose manifest names one"
        )


def limits_of(settings: Mapping[str, str | int], allowed: Allowed) -> Limits:
    """What the job's container may use; InputError names a setting, what it is and what it may."""
    asked = {name: str(value) for name, value in settings.items() if name.startswith(PREFIX)}
    if unknown := asked.keys() - SETTINGS.keys():
        raise InputError(
            f"{', '.join(sorted(unknown))}: a container has the settings {', '.join(SETTINGS)}"
        )
    return Limits(
        memory_bytes=_memory(asked.get("container.memory", ""), allowed),
        cpus=_cpus(asked.get("container.cpus", "")),
        network=_network(asked.get("container.network", "off"), allowed),
        gpu=settings.get("device") == "gpu",
    )


def in_effect(limits: Limits) -> dict[str, str | int | float]:
    """What the job really got, for its record."""
    return {
        "container.memory": limits.memory_bytes,
        "container.cpus": limits.cpus or capabilities.cores(),
        "container.network": "on" if limits.network else "off",
    }


def _memory(text: str, allowed: Allowed) -> int:
    most = allowed.most_bytes
    if not text:
        return most
    size = read_size(text, "container.memory")
    if not LEAST_BYTES <= size <= most:
        raise InputError(
            f"container.memory {text}: expected {LEAST_BYTES >> 20} MiB to {most >> 20} MiB, "
            "which this node gives (MLMS_CONTAINER_MEMORY)"
        )
    return size


def _cpus(text: str) -> float:
    if not text:
        return 0.0
    try:
        cpus = float(text)
    except ValueError:
        cpus = 0.0
    if not 0.01 <= cpus <= capabilities.cores():
        known = f"expected a number of CPUs up to {capabilities.cores()}, which this node has"
        raise InputError(f"container.cpus {text}: {known}")
    return cpus


def _network(text: str, allowed: Allowed) -> bool:
    if text not in ("on", "off"):
        raise InputError(f"container.network {text}: expected {SETTINGS['container.network']}")
    if text == "on" and not allowed.network:
        raise InputError(
            "container.network on: this node lets no container use the network "
            "(MLMS_CONTAINER_NETWORK=1 would)"
        )
    return text == "on"
