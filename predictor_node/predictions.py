"""A worker's predictions as messages; what is too large for one goes to the object store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from bus.errors import InputError
from bus.messages import Prediction
from predictor_node.assets import Assets, AssetsInUse


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


async def _shared(tensor: dict[str, Any], assets: Assets | AssetsInUse, folder: Path) -> None:
    """The address of a tensor's file in place of its path, which is gone afterwards."""
    path = Path(str(tensor.pop("file"))).resolve()
    if folder.resolve() not in path.parents or not path.is_file():
        raise InputError(f"a tensor's file {path.name} is not in the job's folder: not read")
    tensor["url"] = await assets.share(path)
    path.unlink()
