"""What a person asks of the nodes, as the command line has it: which, how many, whose turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter

from bus.errors import InputError, UnknownNameError
from mlmodelscope.asked import OnNodes

PREFERENCES = ("cheapest", "fastest", "least_loaded")
GROUP = Group("On which nodes, and when", sort_key=80)


@Parameter(name="*", group=GROUP)
@dataclass(frozen=True)
class Nodes:
    """Which nodes, how many of them, and when."""

    requires: Annotated[list[str] | None, Parameter(negative="")] = None
    """Constraints between commas, such as 'gpu.memory>=16GiB, avx512, package.numpy>=2'; may be
    given several times. docs/fleet.md lists them; `mlmodelscope nodes --fits` tries them."""
    prefer: str = ""
    """cheapest (label price), fastest (as measured before) or least_loaded. Default: the node that
    is expected to have it done first."""
    nodes: str = "any"
    """any: the best of the nodes that fit; all of them; or so many, a number. Of several, the
    results are shown side by side."""
    priority: int = 0
    """-10 to 10: of what waits for a node, the higher goes first."""
    wait: float = 0.0
    """Seconds to wait for a node that fits, if there is none yet."""

    def asked(self) -> OnNodes:
        """The same, checked."""
        if self.prefer and self.prefer.replace("-", "_") not in PREFERENCES:
            raise UnknownNameError("preference", self.prefer, PREFERENCES)
        if self.wait < 0:
            raise InputError(f"--wait {self.wait:g}: expected seconds from 0")
        prefer: Any = self.prefer.replace("-", "_")
        return OnNodes(
            requires=tuple(self.requires or ()),
            prefer=prefer,
            spread=_spread(self.nodes),
            priority=self.priority,
            wait_s=self.wait,
        )


def _spread(text: str) -> int:
    if text in ("any", "all"):
        return {"any": 1, "all": 0}[text]
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--nodes {text!r}: expected any, all or a number from 1")
    return int(text)


ANYWHERE = Nodes()
"""The one node that is expected to have it done first."""
