"""Which groups a user is in, from the operator's file: `NAME: user, user`, a line each."""

from __future__ import annotations

import logging
from pathlib import Path

from bus.errors import InputError
from bus.identity import NAME

log = logging.getLogger(__name__)


class Groups:
    """The groups of MLMS_GROUPS; a changed file counts from the next question on.

    No file: nobody is in any group. Raises InputError naming the line that is wrong when it is
    first read; a file that is broken later leaves what was known, and is told in the log.
    """

    def __init__(self, path: str = "") -> None:
        self._path = Path(path).expanduser() if path else None
        self._changed_ns = 0
        self._of: dict[str, frozenset[str]] = {}
        if self._path is not None:
            self._read(self._path)

    def of(self, user: str) -> frozenset[str]:
        """The groups that a user is in."""
        if self._path is not None:
            try:
                if self._path.stat().st_mtime_ns != self._changed_ns:
                    self._read(self._path)
            except (OSError, InputError) as exc:
                log.warning("groups not read again", extra={"error": str(exc)})
        return self._of.get(user, frozenset())

    def _read(self, path: Path) -> None:
        try:
            changed_ns, text = path.stat().st_mtime_ns, path.read_text()
        except (OSError, UnicodeDecodeError) as exc:
            raise InputError(f"MLMS_GROUPS: {path}: {exc}") from exc
        members: dict[str, set[str]] = {}
        for number, line in enumerate(text.splitlines(), 1):
            line = line.partition("#")[0].strip()
            if not line:
                continue
            group, colon, users = line.partition(":")
            names = [name.strip() for name in users.split(",") if name.strip()]
            if not colon or not all(NAME.fullmatch(name) for name in (group.strip(), *names)):
                text = f"{path}:{number}: expected `group: user, user` (got {line[:80]!r})"
                raise InputError(f"MLMS_GROUPS: {text}")
            for name in names:
                members.setdefault(name, set()).add(group.strip())
        self._of = {name: frozenset(groups) for name, groups in members.items()}
        self._changed_ns = changed_ns
