"""What the installed torchvision offers: classifiers and segmenters, their pictures and claims."""

from __future__ import annotations

import math
from typing import Any

from manifests.zoo.rows import Picture, Row, Trained

METRICS = {"acc@1": "top1", "acc@5": "top5", "miou": "mIoU", "pixel_acc": "pixel_accuracy"}


def version() -> str:
    """The installed version."""
    import torchvision

    return str(torchvision.__version__).partition("+")[0]


def rows() -> list[Row]:
    """Every network that takes one image and answers with tensors; nothing is downloaded."""
    from torchvision import models

    found = []
    for name in models.list_models(module=models):
        found.append(_row(name, "image_classification"))
    for name in models.list_models(module=models.segmentation):
        found.append(_row(name, "image_semantic_segmentation"))
    return found


def _row(name: str, task: str) -> Row:
    from torchvision import models

    known = models.get_model_weights(name)
    default = known.DEFAULT if hasattr(known, "DEFAULT") else next(iter(known))
    weights = {one.name: _trained(one) for one in known}
    picture, classes = _picture(default), len(default.meta["categories"])
    return Row(
        name=name,
        task=task,
        picture=picture,
        classes=classes,
        parameters=default.meta["num_params"],
        default=default.name,
        weights={
            each: Trained(
                picture=None if trained.picture == picture else trained.picture,
                classes=classes,
                claims=trained.claims,
                on=trained.on,
            )
            for each, trained in weights.items()
        },
        output="out" if task == "image_semantic_segmentation" else "",
    )


def _trained(weights: Any) -> Trained:
    ((on, metrics),) = list(weights.meta["_metrics"].items())[:1]
    # Of weights that are another network's backbone torchvision says NaN.
    told = {METRICS[k]: value for k, value in metrics.items() if k in METRICS and value}
    claims = {metric: value for metric, value in told.items() if math.isfinite(value)}
    return Trained(picture=_picture(weights), claims=claims, on=on)


def _picture(weights: Any) -> Picture:
    told = weights.transforms()
    interpolation = told.interpolation.value
    if not hasattr(told, "crop_size"):  # segmentation: the whole image, its shorter side at 520
        (side,) = told.resize_size
        size, fit, crop = [3, side, side], "stretch", 1.0
    else:
        (cut,), (side,) = told.crop_size, told.resize_size
        size, fit, crop = [3, cut, cut], "cover", cut / side
    return Picture(
        size=size,
        fit=fit,  # type: ignore[arg-type]
        crop=round(crop, 6),
        mean=[round(255 * value, 6) for value in told.mean],
        scale=[round(255 * value, 6) for value in told.std],
        interpolation=interpolation,
    )
