"""What kinds of inputs and outputs a model can have, and which parameters belong to each.

A parameter that no table names belongs to every kind.
"""

from __future__ import annotations

INPUTS = ("image", "text", "audio", "bytes", "raw", "constant", "state")
INPUT_ALIASES = {"code": "bytes", "file": "bytes", "tensor": "raw", "general": "raw"}
OUTPUTS = (
    "classification",
    "object_detection",
    "semantic_segmentation",
    "instance_segmentation",
    "image_enhancement",
    "text",
    "text_generation",
    "audio_activity",
    "feature",
    "raw",
)

_IMAGE = ("image",)
_SCALED = ("image", "audio", "raw")
_TEXT = ("text",)
_AUDIO = ("audio",)
_BYTES = ("bytes",)
INPUT_FIELDS: dict[str, tuple[str, ...]] = {
    "steps": _IMAGE,
    "layout": _IMAGE,
    "color_mode": _IMAGE,
    "mean": _SCALED,
    "scale": _SCALED,
    "decoder": _IMAGE,
    "resize_method": _IMAGE,
    "interpolation": _IMAGE,
    "keep_aspect_ratio": _IMAGE,
    "max_dimension": _IMAGE,
    "pad_value": _IMAGE,
    "crop_method": _IMAGE,
    "crop_ratio": _IMAGE,
    "tokenizer": _TEXT,
    "tokenizer_checksum": _TEXT,
    "tokens": _TEXT,
    "max_length": _TEXT,
    "sample_rate": _AUDIO,
    "window": _AUDIO,
    "hop": _AUDIO,
    "lead_in": _AUDIO,
    "beginning": _BYTES,
    "ending": _BYTES,
    "padding": ("bytes", "text"),
    "strip": _BYTES,
    "block": _BYTES,
    "value": ("constant",),
    "from_output": ("state",),
}
"""parameter of an input -> the types of inputs that it belongs to."""

_BOXED = ("object_detection", "instance_segmentation")
_LABELLED = tuple(kind for kind in OUTPUTS if kind not in ("image_enhancement", "raw"))
OUTPUT_FIELDS: dict[str, tuple[str, ...]] = {
    "url": _LABELLED,
    "checksum": _LABELLED,
    "features_url": _LABELLED,
    "features_checksum": _LABELLED,
    "probabilities_layer": ("classification", "feature", *_BOXED, "audio_activity"),
    "boxes_layer": _BOXED,
    "classes_layer": _BOXED,
    "masks_layer": ("instance_segmentation", "semantic_segmentation"),
    "box_format": _BOXED,
    "box_units": _BOXED,
    "threshold": (*_BOXED, "audio_activity", "classification"),
    "pooling": ("feature",),
    "normalize": ("feature",),
    "mean": ("image_enhancement",),
    "scale": ("image_enhancement",),
}
"""parameter of an output -> the types of outputs that it belongs to."""

DIMENSIONS: dict[str, tuple[tuple[int, ...], str]] = {
    "image": ((3,), "channels, height, width"),
    "text": ((1, 2), "the length of the text"),
    "audio": ((1, 2, 3), "samples, or frames"),
    "bytes": ((1,), "how many bytes"),
}
"""type of an input -> how many dimensions it may have, without the batch, and what they are."""

ARCHITECTURES = ("amd64", "arm64", "ppc64le")
DEVICES = ("cpu", "gpu")
SCHEMES = ("http", "https", "package", "npm", "repo")
"""How the address of a file may begin; one without a scheme is a path beside the manifest."""
CODE_FIELDS = (
    "before_preprocess",
    "preprocess",
    "after_preprocess",
    "before_postprocess",
    "postprocess",
    "after_postprocess",
)


def input_kind(name: str) -> str:
    """The type of an input by its first name: `code` is bytes."""
    return INPUT_ALIASES.get(name, name)
