"""What several evaluations under a load show beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.summary import Result
from bus.messages import Message
from mlmodelscope.load_report import figure
from mlmodelscope.many import in_short
from mlmodelscope.tables import Column

SIDE_BY_SIDE = [
    Column("says"),
    Column("under load", "load", lambda text: text or "–"),
    Column("", "valid", lambda text: text or ""),
]


def in_a_row(result: Result, facts: Sequence[Message]) -> dict[str, Any]:
    """The first load's figure, for a row among others."""
    said = {"says": in_short(result.predictions)}
    if not result.scenarios:
        return said
    row = result.scenarios[0]
    verdict = "VALID" if row.valid else "INVALID"
    return {**said, "load": figure(row), "load_value": row.value, "valid": verdict}
