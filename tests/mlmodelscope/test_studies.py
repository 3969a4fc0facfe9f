"""What a study's file says, which cells follow from it, and by what they are known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bus.errors import InputError, MLModelScopeError
from mlmodelscope import studies
from mlmodelscope.studies import Ran, own_manifests, study_of, sweep_wishes
from mlmodelscope.study_words import slug

MANIFEST = """\
name: {name}
version: 1.0.0
framework: {{name: {framework}, version: ">=1"}}
inputs: [{{type: image, parameters: {{dimensions: [3, 8, 8]}}}}]
outputs: [{{type: classification}}]
model: {{graph_path: net.onnx}}
"""
STUDY = """\
models: models/*.yml
frameworks: [onnxruntime, openvino]
batch_sizes: [1, 2]
inputs: [photo.png]
baseline: node-1
trace: hardware
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of two models: one for both frameworks, by two manifests, and one for one."""
    made = tmp_path / "study"
    (made / "models").mkdir(parents=True)
    for name, framework in (("Net", "onnxruntime"), ("Net", "OpenVINO"), ("Old", "onnxruntime")):
        text = MANIFEST.format(name=name, framework=framework)
        (made / "models" / f"{name}-{framework}.yml").write_text(text)
    (made / "models" / "net.onnx").write_bytes(b"net")
    (made / "photo.png").write_bytes(b"photo")
    (made / "study.yml").write_text(STUDY)
    return made


def ids(folder: Path) -> list[str]:
    study = study_of(folder / "study.yml", {})
    return [w.evaluation_id("", 0) for w in sweep_wishes(study, {}, own_manifests(study))]


def test_manifests_of_one_name_are_one_model(folder: Path) -> None:
    study = study_of(folder / "study.yml", {})
    cells = [
        (Path(wish.model).stem, wish.asked.framework, wish.asked.batch_sizes[0])
        for wish in sweep_wishes(study, {}, own_manifests(study))
    ]
    # Net is run by the manifest for each framework; Old has none for OpenVINO, which refuses it.
    assert sorted(cells) == [
        ("Net-OpenVINO", "openvino", 1),
        ("Net-OpenVINO", "openvino", 2),
        ("Net-onnxruntime", "onnxruntime", 1),
        ("Net-onnxruntime", "onnxruntime", 2),
        ("Old-onnxruntime", "onnxruntime", 1),
        ("Old-onnxruntime", "onnxruntime", 2),
        ("Old-onnxruntime", "openvino", 1),
        ("Old-onnxruntime", "openvino", 2),
    ]


def test_a_cell_is_known_by_what_its_files_hold(folder: Path, tmp_path: Path) -> None:
    here = ids(folder)
    assert len(set(here)) == 8
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert ids(moved) == here
    (moved / "photo.png").write_bytes(b"another photo")
    assert not set(ids(moved)) & set(here)


def test_what_is_typed_wins_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    given = {"batch_sizes": ("4",), "models": ("models/Old-onnxruntime.yml",), "title": "Mine"}
    study = study_of(Path("study.yml"), given)
    assert study.batch_sizes == [4] and study.shown_title == "Mine"
    assert study.models == [str(folder / "models" / "Old-onnxruntime.yml")]
    assert study.inputs == [str(folder / "photo.png")] and study.baseline == "node-1"
    assert study_of(Path("study.yml"), {}, again=True).name != study.name


def test_the_parts_look_as_deep_as_they_should(folder: Path) -> None:
    study = study_of(folder / "study.yml", {"dataset": "MNIST-5k", "limit": 10})
    (first, *_) = sweep_wishes(study, {}, own_manifests(study))
    assert (first.asked.trace, first.dataset, first.asked.runs) == ("model", "", 100)
    ran = Ran(node="node-1", environment="default", batch_size=2)
    deeper = studies.trace_wish(study, first.asked, ran)
    assert (deeper.asked.trace, deeper.asked.runs) == ("hardware", 20)
    assert (deeper.asked.node, deeper.asked.batch_sizes) == ("node-1", (2,))
    judged = studies.judging_wish(study, first.asked, ran)
    assert (judged.dataset, judged.limit, judged.asked.inputs) == ("MNIST-5k", 10, ())
    assert study.traced and not study_of(folder / "study.yml", {"trace": "model"}).traced


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models: x\ntrace_runs: 0\n", "trace_runs: expected a whole number from 1"),
        ("models: none/*.yml\n", "models: no file is called"),
        ("models: x\ntitel: y\n", "study.yml:2: unknown field 'titel'; did you mean title"),
        ("models: x\ntrace: deep\n", "trace"),
    ],
)
def test_a_faulty_study_says_what_and_where(folder: Path, text: str, says: str) -> None:
    (folder / "study.yml").write_text(text)
    with pytest.raises(MLModelScopeError, match=says):
        study_of(folder / "study.yml", {})


def test_a_manifest_that_is_not_there(folder: Path) -> None:
    with pytest.raises(InputError, match="no such manifest"):
        own_manifests(study_of(None, {"models": (str(folder / "none.yml"),)}))


def test_names_become_files() -> None:
    assert slug("onnx/ResNet-50 1.23.2") == "onnx-resnet-50-1-23-2"
    assert slug("A b", ["a-b", "a-b-2"]) == "a-b-3" and slug("模型") == "x"
