"""The zoo's models in a real worker: every topology of the ONNX package runs, at batch size 1."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.connection import Bus
from bus.manifest import Manifest
from manifests.zoo import Zoo
from predictor_node.assets import Assets
from predictor_node.model_files import described, fetch_model
from predictor_node.worker import frameworks

ZOO = Zoo()
TOPOLOGIES = [name for name in ZOO.names() if name.startswith("onnx/")]
MakeJob = Callable[..., dict[str, Any]]
RUN = {"queries": 1, "warmup": 0}
TENSORFLOW = Path(frameworks.__file__).parent / "tensorflow.py"


async def job_of(manifest: Manifest, assets: Assets, make_job: MakeJob, **run: Any) -> Any:
    with assets.in_use() as used:
        files = await fetch_model(manifest, used, used.fetch, used.unpacked)
        job = make_job({**RUN, **run}, **described(manifest, files))
    plugin = str(Path(frameworks.__file__).parent / f"{manifest.framework.name}.py")
    more = {"framework": manifest.framework.name, "plugin": plugin}
    return job | more | {"labels": "", "items": job["items"][:1]}


@pytest.fixture
def assets(bus: Bus, wheels: Path) -> Assets:
    return Assets(wheels / "assets", bus)


@pytest.mark.parametrize("name", TOPOLOGIES)
async def test_every_topology_runs(
    name: str, assets: Assets, make_job: MakeJob, shared_worker: Any
) -> None:
    manifest = ZOO.find(name)
    assert manifest is not None and manifest.model.weights == "constant"
    said = shared_worker.run(await job_of(manifest, assets, make_job))
    assert not said.all("failed"), said.frames[-1]
    (opened,) = said.all("opened")
    (given,) = opened["inputs"]
    assert given["name"] == manifest.inputs[0].name and given["shape"] == [1, 3, 224, 224]
    (classes,) = [made["classes"] for made in said.one("predictions")["predictions"]]
    # Constant weights make every class as likely as the others.
    assert len(classes) == 5 and classes[0]["probability"] == pytest.approx(0.001, rel=1e-3)


async def test_another_batch_size_is_refused(
    assets: Assets, make_job: MakeJob, shared_worker: Any
) -> None:
    manifest = ZOO.find("onnx/ShuffleNet")
    assert manifest is not None
    job = await job_of(manifest, assets, make_job, batch_size=2)
    failed = shared_worker.run(job).one("failed")
    assert "[2, 3, 224, 224]" in failed["text"] and "xpected: 1" in failed["text"]


@pytest.mark.skipif(not TENSORFLOW.exists(), reason="no TensorFlow module in this version")
async def test_a_network_of_keras_runs_without_weights(
    assets: Assets, make_job: MakeJob, fresh_worker: Any
) -> None:
    manifest = ZOO.find("keras/MobileNetV2")
    assert manifest is not None and manifest.model.weights == "random"
    said = fresh_worker.run(await job_of(manifest, assets, make_job, batch_size=2))
    assert not said.all("failed"), said.frames[-1]
    (made,) = said.one("predictions")["predictions"]
    assert len(made["classes"]) == 5
