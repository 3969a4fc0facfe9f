"""How the web is: what /readyz, /status and /metrics tell of it, as of every service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.service import Service

if TYPE_CHECKING:
    from web.state import State


class Status(Service):
    """Ready while its connection to the bus stands."""

    name = "web"

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state, self.started = state, True

    def not_ready(self) -> str:
        """Why nothing can be answered now, or nothing."""
        return "" if self._state.clients.own.connected else "no connection to the bus"

    def status(self) -> dict[str, object]:
        """What it keeps."""
        state = self._state
        return {
            "visitors_connected": len(state.clients),
            "uploads": len(state.uploads),
            "uploads_under_way": len(state.partial),
            "open_models": len(state.open),
            "following": len(state.tasks),
        }
