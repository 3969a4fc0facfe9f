"""An item as a model takes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Fed:
    """One item as tensors: one a fed input, each [rows, *shape] with equally many rows."""

    name: str
    tensors: tuple[np.ndarray, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    truth: Mapping[str, Any] | None = None

    @property
    def rows(self) -> int:
        return len(self.tensors[0])
