"""Many items of one shape read at once, for what would cost more item by item than it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Stack:
    """Items as a reader that has a `stack` gives them: item n is names[n], arrays[n], truths[n]."""

    names: Sequence[str]
    arrays: np.ndarray
    truths: Sequence[Mapping[str, Any] | None]

    def __len__(self) -> int:
        return len(self.names)
