"""Visitor: who sent a request, and what their role lets them do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ROLES = ("look", "run", "publish", "administer")
"""Each may do what the ones before it may."""


@dataclass(frozen=True)
class Visitor:
    """Who sent a request. session: of a browser; empty for a program with a token."""

    name: str = ""
    role: str = ""
    session: str = ""

    def may(self, role: str) -> bool:
        """Whether this one may do what `role` may."""
        return self.role in ROLES and ROLES.index(self.role) >= ROLES.index(role)


def highest(roles: Iterable[str]) -> str:
    """The one of them that may do most; empty where there is none."""
    return max(roles, key=ROLES.index, default="")
