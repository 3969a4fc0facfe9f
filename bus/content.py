"""What a manifest says whoever publishes it: the digest of its content, and its author's claims."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from bus.codec import digest
from bus.manifest import Claim, Manifest

ATTRIBUTES = {"top1": "top1", "top5": "top5", "map": "mAP", "miou": "mIoU"}
"""The attributes by which the original's manifests claim an accuracy, and our metrics."""


def content_digest(manifest: Manifest) -> str:
    """What results are keyed by: who owns and who sees a model does not change what it computes."""
    return digest(replace(manifest, owner="", visibility="public", hidden=False))


def claims_of(manifest: Manifest) -> list[Claim]:
    """The author's claims, and those that the original's attributes make (`top1: 75.1`)."""
    claimed = {claim.metric.casefold() for claim in manifest.claims}
    found = list(manifest.claims)
    for name, value in manifest.attributes.items():
        metric = ATTRIBUTES.get(name.casefold().replace("-", "").replace("_", ""))
        if metric is None or metric.casefold() in claimed:
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
