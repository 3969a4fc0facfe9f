"""What an author claims of a model: the metrics, their units, and where the original had them."""

from __future__ import annotations

import re
from typing import Any

from bus.manifest import Claim, Manifest

FRACTIONS = frozenset(
    ("accuracy", "top1", "top5", "map", "map50", "map75", "miou", "f1", "precision", "recall")
    + ("auc", "pixel", "exactmatch", "worderrorrate")
)
"""Metrics that are a part of 1, or of 100 %."""
TIMES = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}
"""unit of a claimed latency -> nanoseconds."""
RATES = ("", "/s", "inputs/s", "images/s", "items/s", "queries/s")
"""units of a claimed throughput."""
ATTRIBUTES = {"top1": "top1", "top5": "top5", "map": "mAP", "miou": "mIoU"}
"""The attributes by which the original's manifests claim an accuracy, and our metrics."""


def plain_metric(name: str) -> str:
    """A metric's name without what people write differently: top-1, Top1, top_1 accuracy."""
    plain = re.sub(r"[^a-z0-9]", "", name.casefold())
    return plain.removesuffix("accuracy") or plain


def claims_of(manifest: Manifest) -> list[Claim]:
    """The author's claims, and those that the original's attributes make (`top1: 75.1`)."""
    claimed = {plain_metric(claim.metric) for claim in manifest.claims}
    found = list(manifest.claims)
    for name, value in manifest.attributes.items():
        metric = ATTRIBUTES.get(plain_metric(name))
        if metric is None or plain_metric(metric) in claimed:
            continue
        if (read := _accuracy(value)) is not None:
            amount, unit = read
            source = f"attributes.{name}"
            found.append(Claim(metric=metric, value=amount, unit=unit, source=source))
    return found


def _accuracy(value: Any) -> tuple[float, str] | None:
    """A part of 1, or percent where it is marked so or more than 1."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%").strip())
    except ValueError:
        return None
    unit = "%" if text.endswith("%") or number > 1 else ""
    return (number, unit) if 0 <= number <= 100 else None
