"""Whose counters these are: a range that CUPTI's profiler took around one kernel names no launch.

Kineto writes ranges in the order in which the kernels ran (CUPTI runs them one after another to
count them), without correlation ids, and spreads their times evenly over the window. So a range is
joined by order, and only where the numbers agree: the n-th range on a device is its n-th kernel
or, where the file holds no kernels (counting and tracing exclude each other), the n-th launch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from mlmodelscope.importing.events import NOTHING, arguments
from mlmodelscope.importing.profile import Profile, Spans

LAUNCH = re.compile(r"^(cuda|cu|hip)\w*Launch\w*Kernel\w*$|^(cuda|cu|hip)Launch\w*$")
NAMELESS = "__missing__"


def attribute(profile: Profile, ranges: Sequence[int], kernels: Sequence[int]) -> None:
    """Give each range the correlation id of its kernel; say how, or why none could be given."""
    spans = profile.spans
    if not ranges:
        profile.unavailable["hardware counters"] = "the recording holds no counter ranges"
        return
    by_device: dict[int, list[int]] = {}
    for row in ranges:
        spans.tag(row, counters=arguments(spans.args[row]))
        spans.args[row] = NOTHING
        by_device.setdefault(spans.thread[row], []).append(row)
    partners = spans.by_start(kernels or _launches(spans))
    what = "kernels" if kernels else "launches"
    for rows in by_device.values():
        ordered = sorted(rows, key=lambda row: (spans.start_ns[row], row))
        for row in ordered if _spread(spans, ordered) else ():
            spans.tag(row, times="spread evenly by the profiler, not measured")
        if len(by_device) > 1 or not _fit(spans, ordered, partners, bool(kernels)):
            profile.notes.append(
                f"{len(ordered)} counter ranges of {len(by_device)} devices could not be joined to "
                f"{len(partners)} {what}"
            )
            continue
        for row, partner in zip(ordered, partners, strict=True):
            spans.correlation_id[row] = spans.correlation_id[partner]
            spans.tag(row, joined_by=f"order of {what}")
        profile.notes.append(f"{len(ordered)} counter ranges are joined by the order of {what}")


def _launches(spans: Spans) -> list[int]:
    return [
        row
        for row, name in enumerate(spans.name)
        if spans.thread[row] > 0 and spans.correlation_id[row] and LAUNCH.match(name)
    ]


def _fit(spans: Spans, ranges: Sequence[int], partners: Sequence[int], named: bool) -> bool:
    """As many on either side, and, where both have names, the same ones."""
    if len(ranges) != len(partners):
        return False
    return not named or all(
        spans.name[row] in (NAMELESS, spans.name[partner])
        for row, partner in zip(ranges, partners, strict=True)
    )


def _spread(spans: Spans, ordered: Sequence[int]) -> bool:
    """Whether ranges follow each other without a gap, all equally long: no kernels do."""
    return len(ordered) > 2 and all(
        spans.duration_ns[a] == spans.duration_ns[b] and spans.end_ns(a) == spans.start_ns[b]
        for a, b in pairwise(ordered)
    )
