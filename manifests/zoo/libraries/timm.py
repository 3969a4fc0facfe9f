"""What the installed timm offers: its architectures, and the trained weights that each has."""

from __future__ import annotations

import logging
from typing import Any

from manifests.zoo.rows import Picture, Row, Trained

log = logging.getLogger(__name__)

LABELLED = (1000, 11221, 11821, 19168, 21841, 21842, 21843)
"""Classes of the data sets that these models were trained on; other widths are embeddings."""
FITS = {"center": "cover", "squash": "stretch", "border": "pad"}
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


def version() -> str:
    """The installed version."""
    import timm

    return str(timm.__version__)


def rows() -> list[Row]:
    """Every architecture that takes one image; networks are built without memory, to be counted."""
    import timm

    tags: dict[str, list[str]] = {}
    for full in timm.list_pretrained():
        architecture, _, tag = full.partition(".")
        if tag:
            tags.setdefault(architecture, []).append(tag)
    found = []
    for name in timm.list_models():
        try:
            found.append(_row(name, tags.get(name, [])))
        except Exception as exc:  # whatever one architecture has against it, others are there
            log.warning("left out", extra={"model": name, "error": repr(exc)})
    return found


def _row(name: str, tags: list[str]) -> Row:
    import timm

    config, classes, parameters = _built(name)
    picture = _picture(config)
    weights = {}
    for tag in tags:
        given = timm.get_pretrained_cfg(f"{name}.{tag}").to_dict()
        own, own_classes = _picture(given), given.get("num_classes", 0)
        weights[tag] = Trained(
            picture=None if own == picture else own,
            classes=own_classes if own_classes in LABELLED else 0,
            license=given.get("license") or "",
        )
    default = config.get("tag") or ""
    return Row(
        name=name,
        task="image_classification" if classes in LABELLED else "image_feature",
        picture=picture,
        classes=classes if classes in LABELLED else 0,
        parameters=parameters,
        default=default if default in weights else "",
        weights=weights,
    )


def _built(name: str) -> tuple[dict[str, Any], int, int]:
    import timm
    import torch

    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return dict(network.pretrained_cfg), network.num_classes, parameters


def _picture(config: dict[str, Any]) -> Picture:
    interpolation = config.get("interpolation") or "bicubic"
    return Picture(
        size=list(config["input_size"]),
        mean=[round(255 * value, 6) for value in config["mean"]],
        scale=[round(255 * value, 6) for value in config["std"]],
        fit=FITS[config.get("crop_mode") or "center"],  # type: ignore[arg-type]
        crop=round(config.get("crop_pct") or 1.0, 6),  # above 1: a black border, here as there
        interpolation=interpolation if interpolation in INTERPOLATIONS else "bicubic",  # type: ignore[arg-type]
    )
