"""A worker's predictions on their way into messages: large tensors through a real object store."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bus.connection import Bus
from bus.errors import InputError
from bus.messages import ClassScore
from predictor_node.assets import Assets
from predictor_node.predictions import read_predictions


def tensor(path: Path, **changes: Any) -> dict[str, Any]:
    return {"name": "y", "dtype": "float32", "shape": [2, 3], "file": str(path), **changes}


async def test_large_tensors_go_to_the_object_store(bus: Bus, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    for name in ("tensor.npy", "image.npy"):
        np.save(folder / name, numbers)
    made = [
        {"input": "a", "tensors": [tensor(folder / "tensor.npy")]},
        {"input": "b", "image": tensor(folder / "image.npy")},
        {"input": "c", "classes": [{"index": 1, "label": "x", "probability": 0.5}]},
    ]
    one, two, three = await read_predictions(made, Assets(tmp_path / "assets", bus), folder)
    assert one.tensors[0].url == two.image.url  # type: ignore[union-attr]  # the same content
    assert three.classes == [ClassScore(index=1, label="x", probability=0.5)]
    assert list(folder.iterdir()) == []
    found = io.BytesIO()
    await (await bus.objects()).get(one.tensors[0].url.removeprefix("repo://"), found)
    np.testing.assert_array_equal(np.load(io.BytesIO(found.getvalue())), numbers)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"input": "a", "tensors": [tensor(Path("/etc/hostname"))]}, "hostname is not in the job"),
        ({"input": "a", "image": tensor(Path("job/../../x.npy"))}, "x.npy is not in the job"),
        ({"input": "a", "classes": [{"label": "x"}]}, r"missing required field `index`"),
        ({"input": "a", "text": 3}, r"\$\[0\]\.text"),
    ],
)
async def test_what_is_no_prediction_is_refused(
    tmp_path: Path, made: dict[str, Any], words: str
) -> None:
    assets = Assets(tmp_path, None)  # type: ignore[arg-type]  # nothing is shared
    with pytest.raises(InputError, match=words):
        await read_predictions([made], assets, tmp_path)
