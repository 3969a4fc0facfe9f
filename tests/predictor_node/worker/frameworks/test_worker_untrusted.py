"""Model files and constructors of strangers: nothing of theirs runs, and they are told why."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..conftest import Process
    from .conftest import NetJob, SmallNet


class Touch:
    """Unpickled, it writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.marker), "w"))


def refused(worker: Process, job: dict[str, Any], kind: str, *words: str) -> None:
    failed = worker.run(job).one("failed")
    assert failed["kind"] == kind, failed["text"]
    for word in words:
        assert word in failed["text"], failed["text"]


def test_a_pickle_among_the_weights_is_not_run(
    net_worker: Process, net_job: NetJob, tmp_path: Path
) -> None:
    import torch

    marker, weights = tmp_path / "marker", tmp_path / "evil.pth"
    torch.save({"conv.weight": Touch(marker)}, weights)
    model = {"constructor": "small_net:SmallNet", "files": {"weights": str(weights)}}
    refused(net_worker, net_job("pytorch", model), "asset", "evil.pth", "refused", "state dict")
    assert not marker.exists()
    pickle.loads(pickle.dumps(Touch(marker))).close()  # the same pickle, by who trusts it
    assert marker.exists()


def test_a_pickled_module_is_no_state_dict(net_worker: Process, net_job: NetJob) -> None:
    model = {"constructor": "small_net:SmallNet", "files": {"weights": "whole_object.pth"}}
    refused(net_worker, net_job("pytorch", model), "asset", "whole_object.pth", "refused")


def changed_archive(source: Path, target: Path, change: dict[str, Any]) -> None:
    """The archive with members replaced: by bytes, or by a function of their text."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            for ending, made in change.items():
                if info.filename.endswith(ending):
                    content = made(content) if callable(made) else made
            new.writestr(info.filename, content)
        root = old.namelist()[0].partition("/")[0]
        for name, made in change.items():
            if name.startswith("+"):
                new.writestr(f"{root}/{name[1:]}", made)


def evil_archives(marker: Path) -> dict[str, dict[str, Any]]:
    import torch

    pickled = io.BytesIO()
    torch.save(Touch(marker), pickled)
    call = f"open({str(marker)!r},'w')"

    def in_json(text: str, other: str) -> Any:
        def change(content: bytes) -> bytes:
            changed = content.replace(text.encode(), other.encode())
            assert changed != content and json.loads(changed)
            return changed

        return change

    constant = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
    constants = json.dumps({"config": {"c": {**constant, "tensor_meta": None}}})
    size = "Symbol('s"
    return {
        "sample inputs": {"sample_inputs/model.pt": pickled.getvalue()},
        "a size": {"models/model.json": in_json(size, f"{call} + {size}")},
        "a guard": {
            "models/model.json": in_json('"guards_code": []', f'"guards_code": ["{call}"]')
        },
        "an opaque constant": {
            "constants/model_constants_config.json": constants.encode(),
            "+data/constants/opaque_obj_0": pickle.dumps(Touch(marker)),
        },
        "a library": {"+data/aotinductor/model/wrapper.so": b"\x7fELF"},
        "no archive": {},
    }


@pytest.mark.parametrize("case", evil_archives(Path("marker")))
def test_an_exported_program_that_carries_code_is_not_loaded(
    net_worker: Process, net_job: NetJob, small_net: SmallNet, tmp_path: Path, case: str
) -> None:
    marker, graph = tmp_path / "marker", tmp_path / "evil.pt2"
    if case == "no archive":
        graph.write_bytes(pickle.dumps(Touch(marker)))
    else:
        changed_archive(small_net.folder / "net.pt2", graph, evil_archives(marker)[case])
    job = net_job("pytorch", {"files": {"graph": str(graph)}})
    refused(net_worker, job, "asset", "evil.pt2")
    assert not marker.exists()


def test_an_unchanged_copy_of_the_archive_is_loaded(
    net_worker: Process, net_job: NetJob, small_net: SmallNet, tmp_path: Path
) -> None:
    graph = tmp_path / "good.pt2"
    shutil.copy(small_net.folder / "net.pt2", graph)
    said = net_worker.run(net_job("pytorch", {"files": {"graph": str(graph)}}))
    assert said.one("finished")


def test_a_torchscript_that_writes_files_is_not_run(
    net_worker: Process, net_job: NetJob, tmp_path: Path
) -> None:
    import warnings

    import torch

    class Writer(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            torch.save(images, "marker")
            return images

    graph = tmp_path / "writer.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Writer()).save(str(graph))
    job = net_job("pytorch", {"files": {"graph": str(graph)}})
    refused(net_worker, job, "asset", "aten::save", "not run")


def test_a_savedmodel_that_writes_files_is_not_loaded(net_worker: Process, net_job: NetJob) -> None:
    job = net_job("tensorflow", {"files": {"graph": "writes_files"}})
    refused(net_worker, job, "asset", "WriteFile", "not run")


def test_a_whole_model_in_hdf5_is_not_loaded(net_worker: Process, net_job: NetJob) -> None:
    job = net_job("tensorflow", {"files": {"graph": "whole.h5"}})
    refused(net_worker, job, "asset", "whole.h5", "save it as .keras")


CONSTRUCTORS = {
    "no_such_package:Net": ("framework", ["no_such_package", "pip install no_such_package"]),
    "segmentation_models_pytorch:Unet": ("framework", ["install segmentation-models-pytorch"]),
    "small_net.deeper:Net": ("request", ["no module small_net.deeper"]),
    "small_net:Net": ("request", ["small_net has no Net"]),
    "small_net": ("request", ["package.module:function"]),
    "small_net:anything": ("request", ["not known to make a model", "derived from Module"]),
    "small_net:os.system": ("request", ["not known to make a model"]),
    "os:system": ("request", ["belongs to no installed package"]),
    "torch.hub:load": ("request", ["not known to make a model"]),
    "torch:load": ("request", ["not known to make a model"]),
    "small_net:SmallNet.__init__": ("request", ["small_net has no"]),
}


@pytest.mark.parametrize("constructor", CONSTRUCTORS)
def test_constructors_that_are_not_called(
    net_worker: Process, net_job: NetJob, tmp_path: Path, constructor: str
) -> None:
    kind, words = CONSTRUCTORS[constructor]
    marker = tmp_path / "marker"
    model = {"constructor": constructor, "arguments": {"path": str(marker)}, "weights": "random"}
    refused(net_worker, net_job("pytorch", model), kind, constructor, *words)
    assert not marker.exists()


def test_arguments_that_a_constructor_refuses(net_worker: Process, net_job: NetJob) -> None:
    model = {"constructor": "small_net:SmallNet", "arguments": {"clases": 3}, "weights": "random"}
    refused(net_worker, net_job("pytorch", model), "framework", "'clases'", "arguments")


FILES = {
    "weights of another network": (
        "pytorch",
        {
            "constructor": "small_net:SmallNet",
            "arguments": {"classes": 6},
            "weights_file": "net.pth",
        },
        ("asset", "net.pth", "SmallNet", "dense.weight"),
    ),
    "weights without a constructor": (
        "pytorch",
        {"graph": "net.pth"},
        ("request", "net.pth", "model.constructor"),
    ),
    "a missing file": ("pytorch", {"graph": "gone.pt2"}, ("asset", "gone.pt2", "does not exist")),
    "an unknown ending": ("pytorch", {"graph": "net.onnx"}, ("request", "net.onnx", ".pt2")),
    "a keras file as LiteRT": (
        "tensorflow",
        {"graph": "net.keras", "format": "litert"},
        ("asset", "net.keras", "LiteRT says"),
    ),
    "a folder without a model": (
        "tensorflow",
        {"graph": "site"},
        ("asset", "site", "saved_model.pb"),
    ),
    "another framework's format": (
        "tensorflow",
        {"graph": "net.onnx", "format": "onnx"},
        ("request", "format of a TensorFlow model", "saved_model"),
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_cannot_be_opened(net_worker: Process, net_job: NetJob, case: str) -> None:
    framework, given, (kind, *words) = FILES[case]
    given = dict(given)
    files = {"graph": given.pop("graph", ""), "weights": given.pop("weights_file", "")}
    refused(net_worker, net_job(framework, {"files": files, **given}), kind, *words)
