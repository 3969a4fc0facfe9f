"""Makes a file of tokens where there is none: one token, of one who may do everything."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from bus.errors import InputError


def make_first_token(path: Path) -> str:
    """Write the file, readable by its owner alone, and give the token; empty: it was there."""
    token = secrets.token_hex(20)
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, mode=0o700)
        if path.exists():
            return ""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise InputError(f"tokens {path}: {exc.strerror}; expected a file of yours") from exc
    with os.fdopen(descriptor, "w") as file:
        file.write(f"# role name token\nadminister admin {token}\n")
    return token
