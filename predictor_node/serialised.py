"""What makes a framework do one thing at a time, so that no span can have two parents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bus.errors import InputError

SERIALIZE = "serialize"
"""The setting that asks for it: 1. It goes no further than the node."""
ONE_AT_A_TIME: dict[str, str | int] = {
    "threads": 1,
    "inter_op_threads": 1,
    "execution": "sequential",
}
"""What frameworks call it; each is given those of them that it knows."""
BLOCKING = {"CUDA_LAUNCH_BLOCKING": "1"}
"""CUDA then returns from a launch when its kernel has ended; read once, when it starts."""

Settings = Mapping[str, str | int]


def is_wanted(settings: Settings) -> bool:
    """Whether a job is to be serialised."""
    return str(settings.get(SERIALIZE, 0)) not in ("", "0")


def settings_for(framework: str, asked: Settings, known: Sequence[str]) -> dict[str, str | int]:
    """The settings for the worker; known: those that the framework's module names."""
    kept = {name: value for name, value in asked.items() if name != SERIALIZE}
    if not is_wanted(asked):
        return kept
    forced = {name: value for name, value in ONE_AT_A_TIME.items() if name in known}
    if not forced:
        raise InputError(
            f"framework {framework} knows none of the settings {', '.join(ONE_AT_A_TIME)}: it "
            "cannot be serialised; ask without --serialize, or add one to its module's SETTINGS"
        )
    return kept | forced


def variables_for(asked: Settings) -> dict[str, str]:
    """The environment variables of a worker that runs such a job."""
    on_a_gpu = asked.get("device") == "gpu"
    return dict(BLOCKING) if is_wanted(asked) and on_a_gpu else {}
