"""What a timeline says of itself: what is in it, what is not, how far its times are trusted."""

from __future__ import annotations

from typing import Any

import numpy as np

from bus.messages import TimelineChunk
from collector.timeline import Timeline

AGAIN = "evaluate again with --serialize to have them told apart"


def account(told: Timeline | TimelineChunk) -> dict[str, Any]:
    """For programs: spans by level, dropped ones by source and level too, clocks by source."""
    return {
        "complete": told.complete,
        "missing": told.missing,
        "emitted": told.emitted,
        "stored": told.stored,
        "dropped": told.dropped,
        "lost": told.lost,
        "ambiguous": _ambiguous(told),
        "repaired": told.repaired,
        "reference_clock": told.reference,
        "clock_error_ns": told.error_ns,
        "clock_errors_ns": dict(zip(told.sources, told.errors_ns, strict=False)),
    }


def words(told: Timeline | TimelineChunk) -> list[str]:
    """For people: whether it is whole; what is unclear or was mended; the error of its clocks."""
    said = ["complete" if told.complete else f"not complete: {told.missing}"]
    if unclear := _ambiguous(told):
        said.append(f"{unclear:,} spans whose parent is ambiguous ({AGAIN})")
    if told.repaired:
        said.append(f"{told.repaired:,} impossible values mended")
    if told.error_ns >= 0:
        said.append(f"clocks agree within {told.error_ns / 1e6:.3f} ms")
    apart = [name for name in told.sources if "@" in name.rsplit("/", 2)[0]]
    if apart:
        said.append(f"on clocks of their own: {', '.join(apart)}")
    return said


def _ambiguous(told: Timeline | TimelineChunk) -> int:
    if isinstance(told, TimelineChunk):
        return told.ambiguous
    return int(np.count_nonzero(told.ambiguous))
