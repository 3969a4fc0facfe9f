"""What the settings of frameworks mean, in a few words each; docs/frameworks.md says it in full."""

from __future__ import annotations

from collections.abc import Iterable

from bus.messages import FrameworkSeen

MEANS = {
    "threads": "threads within one operator; 0: the framework's own choice",
    "inter_op_threads": "threads between operators",
    "precision": "what the numbers are computed in: float32, float16, bfloat16, int8",
    "graph_optimization": "disabled, basic, extended or all",
    "execution": "sequential or parallel",
    "provider": "one of the providers above",
    "compile": "none or inductor",
    "onednn": "on or off",
}


def settings_of(builds: Iterable[FrameworkSeen]) -> list[tuple[str, str]]:
    """Each setting that a build knows, and what it means."""
    names = dict.fromkeys(name for build in builds for name in build.settings)
    return [(name, MEANS.get(name, "as its plugin describes it")) for name in names]
