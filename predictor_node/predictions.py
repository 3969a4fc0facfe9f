"""A worker's predictions as messages; what is too large for one goes to the object store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bus.errors import InputError
from bus.messages import ClassScore, Prediction, Truth
from predictor_node.assets import Assets, AssetsInUse


async def frame_predictions(
    frame: dict[str, Any], assets: Assets | AssetsInUse, folder: Path
) -> list[Prediction]:
    """What a worker's `predictions` frame holds, in either of its two forms."""
    if "columns" in frame:
        return from_columns(frame["columns"])
    return await read_predictions(frame["predictions"], assets, folder)


async def read_predictions(
    made: list[dict[str, Any]], assets: Assets | AssetsInUse, folder: Path
) -> list[Prediction]:
    """The predictions of a worker whose large tensors lie in files of `folder`."""
    for prediction in made:
        tensors = [*prediction.get("tensors", ()), prediction.get("image")]
        for tensor in tensors:
            if isinstance(tensor, dict) and "file" in tensor:
                await _shared(tensor, assets, folder)
    try:
        return msgspec.convert(made, list[Prediction])
    except msgspec.ValidationError as exc:
        text = f"the predictions are not as a message wants them: {exc}"
        raise InputError(
            f"{text}: the manifest's postprocessing must give Prediction's fields"
        ) from exc


def from_columns(told: dict[str, Any]) -> list[Prediction]:
    """The predictions of a frame of columns: the worker has checked what is in them."""
    names, labels = told["inputs"], dict(told["labels"])
    indices = np.frombuffer(told["indices"], "<i4").reshape(len(names), -1).tolist()
    values = np.frombuffer(told["probabilities"], "<f8").reshape(len(names), -1).tolist()
    truths = msgspec.convert(told["truths"], list[Truth | None])
    return [
        Prediction(
            input=name,
            classes=[
                ClassScore(index=index, label=labels.get(index, ""), probability=value)
                for index, value in zip(best, scores, strict=True)
            ],
            truth=truth,
        )
        for name, best, scores, truth in zip(names, indices, values, truths, strict=True)
    ]


async def _shared(tensor: dict[str, Any], assets: Assets | AssetsInUse, folder: Path) -> None:
    """The address of a tensor's file in place of its path, which is gone afterwards."""
    path = Path(str(tensor.pop("file"))).resolve()
    if folder.resolve() not in path.parents or not path.is_file():
        raise InputError(f"a tensor's file {path.name} is not in the job's folder: not read")
    tensor["url"] = await assets.share(path)
    path.unlink()
