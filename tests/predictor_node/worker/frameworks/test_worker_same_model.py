"""EfficientNet-Lite0 with its real weights says the same in two frameworks, by its manifests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from bus.messages import Manifest
from manifests.catalog import Catalog, shipped
from predictor_node import worker
from predictor_node.model_files import ModelFiles, described

if TYPE_CHECKING:
    from ..conftest import EfficientNet, MakeJob, Process

PLUGINS = Path(worker.__file__).parent / "frameworks"
MODEL = "EfficientNet-Lite0"
TOLERANCE = 1e-4


def manifest_for(framework: str) -> Manifest:
    (found,) = [m for m in shipped() if (m.name, m.framework.name) == (MODEL, framework)]
    return found


def logits(
    worker: Process, make_job: MakeJob, efficientnet: EfficientNet, framework: str
) -> np.ndarray:
    manifest = manifest_for(framework)
    graph = efficientnet.graph if manifest.model.graph_path else None
    said = described(manifest, ModelFiles(graph, efficientnet.weights, None, {}))
    outputs: list[dict[str, Any]] = [{"type": "raw", "name": "logits"}]
    plugin = str(PLUGINS / f"{framework}.py")
    settings = {"framework": framework, "plugin": plugin, "outputs": outputs}
    run = worker.run(make_job({"queries": 1, "warmup": 0}, **{**said, **settings}))
    assert not run.all("failed"), run.one("failed")["text"]
    made = [answer["tensors"][0] for answer in run.one("predictions")["predictions"]]
    return np.stack([np.frombuffer(each["data"], each["dtype"]) for each in made])


def test_two_frameworks_agree_on_two_photographs(
    net_worker: Process, make_job: MakeJob, efficientnet: EfficientNet
) -> None:
    onnx = logits(net_worker, make_job, efficientnet, "onnxruntime")
    torch = logits(net_worker, make_job, efficientnet, "pytorch")
    assert onnx.shape == torch.shape == (2, 1000)
    assert np.abs(onnx - torch).max() < TOLERANCE
    assert onnx.argmax(1).tolist() == [967, 282]  # espresso, tiger cat


def test_of_two_frameworks_onnx_runtime_is_asked_first() -> None:
    copy = msgspec.structs.replace(
        manifest_for("pytorch"),
        framework=msgspec.structs.replace(manifest_for("pytorch").framework, name="MXNet"),
    )
    catalog = Catalog([copy, *shipped()])
    order = [manifest.framework.name for manifest in catalog.candidates(MODEL)]
    assert order == ["onnxruntime", "MXNet", "pytorch"]
    wanted = catalog.candidates(MODEL, lambda name: name == "pytorch")
    assert [manifest.framework.name for manifest in wanted] == ["pytorch"]
