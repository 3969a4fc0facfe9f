"""What stands at the top of a recording, without what looks like somebody's secret.

Profilers write whole environments into their files, and people publish those.
"""

from __future__ import annotations

import re
from typing import Any

SECRET = re.compile(
    r"token|secret|passw|credential|api_?key|access_?key|private_?key|authorization|cookie", re.I
)
WITHHELD = "(withheld)"
DEEPEST = 32


def without_secrets(value: Any, depth: int = 0) -> tuple[Any, int]:
    """The same value, each field whose name means a secret withheld; and how many there were."""
    if depth > DEEPEST or not isinstance(value, dict | list):
        return value, 0
    if isinstance(value, list):
        pairs = [without_secrets(one, depth + 1) for one in value]
        return [one for one, _ in pairs], sum(count for _, count in pairs)
    kept: dict[str, Any] = {}
    withheld = 0
    for name, one in value.items():
        if SECRET.search(str(name)) and one not in ("", None) and not isinstance(one, bool):
            kept[name], count = WITHHELD, 1
        else:
            kept[name], count = without_secrets(one, depth + 1)
        withheld += count
    return kept, withheld
