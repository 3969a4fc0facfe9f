"""How much one user may hold in the store, and the words for who holds too much."""

from __future__ import annotations

from dataclasses import dataclass

from bus.messages import Usage
from bus.sizes import read_size, size_text

USER_BYTES = "100GiB"
USER_SPANS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Most:
    """What one user may hold; 0: as much as there is room for."""

    bytes: int = 0
    spans: int = 0

    def stands_against(self, usage: Usage, more_bytes: int = 0) -> str:
        """Why a user may hold no more, or nothing. more_bytes: held besides what is stored."""
        whole = usage.bytes + more_bytes
        if self.bytes and whole >= self.bytes:
            inputs = f" and {size_text(more_bytes)} of inputs" if more_bytes else ""
            held = f"{size_text(usage.bytes)} of stored evaluations{inputs}"
            limit = f"{size_text(self.bytes)} that one user may hold (MLMS_USER_BYTES)"
        elif self.spans and usage.spans >= self.spans:
            held = f"{usage.spans:,} stored spans"
            limit = f"{self.spans:,} that one user may hold (MLMS_USER_SPANS)"
        else:
            return ""
        text = f"{usage.user} holds {held}, of {limit}"
        return f"{text}: delete evaluations (`mlmodelscope usage` lists the largest)"


def read_most(user_bytes: str, user_spans: int) -> Most:
    """The limits as settings have them; `0` is none."""
    is_none = user_bytes.strip() == "0"
    return Most(0 if is_none else read_size(user_bytes, "MLMS_USER_BYTES"), max(user_spans, 0))
