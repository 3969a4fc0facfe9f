"""What a model is and what a dataset is, as their authors describe them: the types of manifests.

They travel inside messages (bus/messages.py) and are read from YAML (manifests/catalog.py).
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

ElementType = Literal[
    "float32",
    "float16",
    "float64",
    "bfloat16",
    "uint8",
    "int8",
    "int32",
    "int64",
    "bool",
    "raw_image",
]


class FrameworkWanted(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The framework that a model needs: its name and a range of semantic versions."""

    name: str
    """As a node names it: onnxruntime, pytorch, tensorflow … (case and spaces do not count)."""
    version: str = ""
    """A range: ^1.x, ~1.2, >=1 <2, ^1 || ^2; empty: any."""


class InputParameters(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How one of a model's tensors is made from an item; which fields count depends on the type.

    dimensions: without the batch; -1 is any size. Images: C, H, W whatever the layout.
    steps: the order of an image's steps; empty: decode, resize, crop, normalize, transpose.
    """

    element_type: ElementType = "float32"
    input_layer: str = ""
    """The graph's name of the tensor, where the input's own name is not it."""
    dimensions: list[int] = []
    steps: list[Literal["decode", "resize", "crop", "normalize", "transpose"]] = []

    layout: Literal["NCHW", "NHWC", "CHW", "HWC"] = "NCHW"
    color_mode: Literal["RGB", "BGR", "L"] = "RGB"
    """Image: the order of the channels; L is one channel of grey."""
    mean: float | list[float] = 0.0
    """Image, audio, raw: (x - mean) / scale, on 0–255 pixels; one number or one a channel."""
    scale: float | list[float] = 1.0
    """One number or one a channel; never 0."""
    decoder: Literal["pillow", "opencv", "turbojpeg"] = "pillow"
    """Image: the library that decodes and resizes; their pixels differ."""
    resize_method: Literal["auto", "stretch", "cover", "contain", "pad"] = "auto"
    """Image: to the size whatever the form; around it; inside it; inside it with a border. auto:
    cover before a crop, contain where keep_aspect_ratio, otherwise stretch."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    keep_aspect_ratio: bool = False
    """Image: the form of the image is kept when it is resized."""
    max_dimension: int = 0
    """Image: the longer side becomes this many pixels; 0: not so."""
    pad_value: float = 0.0
    """Image: the value of a border."""
    crop_method: Literal["none", "center", "topleft"] = "none"
    """Image: which part is looked at."""
    crop_ratio: float = 1.0
    """Image: how much of the shorter side, more than 0 and at most 2; above 1 with a border."""

    tokenizer: str = ""
    """Text: the address of a tokenizer.json."""
    tokenizer_checksum: str = ""
    """sha256:<hex>; md5:<hex> is accepted."""
    tokens: Literal["ids", "mask", "types"] = "ids"
    """Text: which of the tokenizer's tensors this input is."""
    max_length: int = 0
    """Text: longer ones are cut to so many tokens; 0: never."""

    sample_rate: int = 0
    """Audio: samples a second that the model wants; others are converted."""
    window: int = 0
    """Audio: samples of one window; 0: all in one."""
    hop: int = 0
    """Audio: samples from one window's beginning to the next; 0: the window."""
    lead_in: int = 0
    """Audio: samples of silence put before the first one, for models that look back."""

    beginning: int = 0
    """Bytes: how many of the first and of the last bytes are looked at."""
    ending: int = 0
    """Bytes: see beginning."""
    padding: int = 0
    """Bytes, text: the value that fills what is too short."""
    strip: bool = False
    """Bytes: whether white space at both ends is passed over."""
    block: int = 0
    """Bytes: how many of either end are read, to pass over white space in; 0: all."""

    value: float | list[float] = 0.0
    """Constant: the tensor's value, or values in rows."""
    from_output: str = ""
    """State: zeros for an item's first window, then this output of the window before."""


class ModelInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One input of a model: its modality and how an item becomes its tensor.

    type: image, text, audio, bytes (code, files), raw (a tensor as it is; also: tensor, general),
    constant (the same for every item) or state (from the window before).
    """

    type: str
    name: str = ""
    """The graph's name of the tensor."""
    description: str = ""
    parameters: InputParameters = InputParameters()
    """How an item becomes this tensor."""


class OutputParameters(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How output tensors are read: their labels (`url`, `checksum`) and what is applied to them.

    features_url, features_checksum and probabilities_transform are the original's names of url,
    checksum and transform: whichever is given counts.
    """

    element_type: str = "float32"
    dimensions: list[int] = []
    """Without the batch."""
    url: str = ""
    """The labels: one a line, or a JSON list."""
    checksum: str = ""
    """Of the labels."""
    features_url: str = ""
    features_checksum: str = ""
    transform: Literal["", "none", "softmax", "sigmoid"] = ""
    probabilities_transform: Literal["", "none", "softmax", "sigmoid"] = ""
    probabilities_layer: str = ""
    """The graph's name of the output that holds the probabilities."""
    boxes_layer: str = ""
    """The graph's name of the output that holds the boxes."""
    classes_layer: str = ""
    """The graph's name of the output that holds the classes."""
    masks_layer: str = ""
    """The graph's name of the output that holds the masks."""
    box_format: Literal["xyxy", "yxyx", "xywh", "cxcywh"] = "xyxy"
    box_units: Literal["pixels", "fractions"] = "pixels"
    """Detection: of the model's input, or 0–1 of it."""
    threshold: float = 0.0
    """Detection, audio, classification: what is less probable is not told."""
    pooling: Literal["none", "mean", "cls"] = "none"
    """Features of text: one vector an item, over its tokens or of the first one."""
    normalize: bool = False
    """Features: to unit length."""
    mean: float | list[float] = 0.0
    scale: float | list[float] = 1.0
    """Enhancement: values times scale plus mean are pixels 0–255: what the input's did, undone."""


class ModelOutput(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One output of a model: what it says.

    type: classification, object_detection, semantic_segmentation, instance_segmentation,
    image_enhancement, text, text_generation, audio_activity, feature or raw.
    """

    type: str
    name: str = ""
    """The graph's name of the tensor."""
    description: str = ""
    parameters: OutputParameters = OutputParameters()
    """How this tensor is read."""


class ModelResources(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The files of a model: paths beside the manifest, or URLs; checksums are `sha256:<hex>`.

    An archive (is_archive) lies at base_url, and graph_path and weights_path are inside it.
    constructor: `package.module:function` of an installed package that makes the network, called
    with `arguments`; the weights are then a state dict, or random.
    """

    base_url: str = ""
    """What graph_path and weights_path lie below; the archive's address."""
    graph_path: str = ""
    """The model's file."""
    graph_checksum: str = ""
    weights_path: str = ""
    """Weights that lie in a file of their own."""
    weights_checksum: str = ""
    is_archive: bool = False
    """Whether base_url is a .zip or .tar to be unpacked."""
    archive_checksum: str = ""
    format: Literal[
        "",
        "onnx",
        "exported_program",
        "torchscript",
        "state_dict",
        "saved_model",
        "keras",
        "litert",
    ] = ""
    """Empty: told by the file's ending."""
    constructor: str = ""
    arguments: dict[str, Any] = {}
    """What the constructor is called with."""
    requires: list[str] = []
    """Packages that the environment must have: `torchvision>=0.20`."""
    weights: Literal["trained", "random", "constant"] = "trained"
    """random, constant: good for timing, never for accuracy; every result says so."""


class Sample(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An input that comes with a model, so that it can be tried at once."""

    url: str
    """Beside the manifest, or an address."""
    checksum: str = ""
    description: str = ""
    license: str = ""


class Claim(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an author says that a model reaches, and on what: shown beside what was measured.

    metric: top1, top5, mAP, mIoU … as a fraction or in percent (unit %), or latency,
    throughput …
    """

    metric: str
    """top1, top5, mAP, mIoU, latency, throughput …"""
    value: float
    unit: str = ""
    """%, or nothing for a part of 1; ns, us, ms or s of a latency; inputs/s of a throughput."""
    on: str = ""
    """The dataset, or the machine and framework."""
    batch_size: int = 0
    """Of a latency or throughput; 0: not said, and so not compared."""
    source: str = ""
    """Where it is claimed."""


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything that is needed to evaluate a model, as its author wrote it.

    preprocess, postprocess and what comes before and after each: Python that defines
    `run(context, data)`, where a node allows it. precision: what the weights are computed in.
    """

    name: str
    """Any text without @."""
    version: str
    """A semantic version; 1.0 is 1.0.0."""
    description: str = ""
    author: str = ""
    license: str = ""
    """Of the model, by its SPDX name if it has one."""
    references: list[str] = []
    """Papers, pages, repositories."""
    task: str = ""
    """image_classification, object_detection, text_embedding …"""
    element_type: str = "float32"
    precision: Literal["", "float32", "float16", "bfloat16", "int8", "mixed"] = ""
    framework: FrameworkWanted
    container: dict[str, dict[str, str]] = {}
    """architecture -> device -> image."""
    dockerfile: str = ""
    """The text of a Dockerfile in place of an image; built by nodes that allow it. It has no files
    beside it: COPY and ADD of local files cannot work."""
    inputs: list[ModelInput] = []
    outputs: list[ModelOutput] = []
    before_preprocess: str | list[Any] = ""
    preprocess: str | list[Any] = ""
    after_preprocess: str | list[Any] = ""
    before_postprocess: str | list[Any] = ""
    postprocess: str | list[Any] = ""
    after_postprocess: str | list[Any] = ""
    model: ModelResources
    """Where the files lie."""
    samples: list[Sample] = []
    """What it is tried on where no input is given."""
    claims: list[Claim] = []
    """What the author says that it reaches."""
    attributes: dict[str, Any] = {}
    """Anything else: training_dataset, parameters …"""
    visibility: Literal["public", "private"] = "public"
    """private: seen and used by its owner and the members of its groups only."""
    owner: str = ""
    """Empty: who publishes it."""
    groups: list[str] = []
    hidden: bool = False
    """Found by its name, and not listed."""


# ------------------------------------------------------------------ datasets


class DatasetFile(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One file, folder (a URL that ends in /) or archive of a dataset."""

    url: str
    checksum: str = ""
    is_archive: bool = False
    path: str = ""
    """Inside the archive; empty: all of it."""


class Selection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which items count: of all, in an order drawn with `seed` (0: as they lie), `count` (0: all
    others) from `skip` on. A model's author names so what was held out of its training."""

    seed: int = 0
    skip: int = 0
    count: int = 0


class DatasetManifest(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Labelled data: where it lies, in which format, and what its labels mean.

    files: what the format needs, by role: images, labels, annotations, data …
    parameters: what else the format wants to know (columns, image size …).
    """

    name: str
    version: str
    description: str = ""
    author: str = ""
    license: str = ""
    references: list[str] = []
    task: str = "image_classification"
    format: Literal[
        "images", "image_folder", "coco", "mnist", "cifar", "csv", "jsonl", "numpy", "package"
    ]
    files: dict[str, DatasetFile] = {}
    parameters: dict[str, Any] = {}
    labels: list[str] = []
    labels_url: str = ""
    labels_checksum: str = ""
    select: Selection = Selection()
    attributes: dict[str, Any] = {}
    visibility: Literal["public", "private"] = "public"
    owner: str = ""
    groups: list[str] = []
    hidden: bool = False
