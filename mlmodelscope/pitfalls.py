"""The pitfalls of measuring a model: each is one change of the specification, by name.

After "Challenges and Pitfalls of Machine Learning Evaluation and Benchmarking" (arXiv 1904.12437).
Does not run anything: pitfall_run.py does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from bus.errors import InputError, UnknownNameError
from bus.messages import DatasetManifest, InputParameters, Manifest

MISREAD = "def run(context, data):\n    return data.transpose(1, 2, 0).reshape(data.shape)\n"
"""The values of a layout, taken for those of the other."""
WHOLE = "import numpy\ndef run(context, data):\n    return numpy.floor(data)\n"
"""What a division of whole numbers leaves of (x - mean) / scale."""


@dataclass(frozen=True)
class Specification:
    """All that says what is run: what a pitfall changes one field of."""

    manifest: Manifest
    dataset: DatasetManifest
    framework: str = ""
    settings: dict[str, str | int] = field(default_factory=dict)
    warmup: int = 5
    shifted_labels: tuple[str, str] = ("", "")
    """Address and checksum of the dataset's labels, moved on by one: for the pitfall `labels`."""

    def as_data(self) -> dict[str, Any]:
        """As plain data, to be compared field by field."""
        return {
            "model": msgspec.to_builtins(self.manifest),
            "dataset": msgspec.to_builtins(self.dataset),
            "framework": self.framework,
            "settings": dict(self.settings),
            "warmup": self.warmup,
        }


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One field in which two specifications differ; None: it is not said there."""

    field: str
    before: Any
    after: Any


Edit = Callable[[Specification], Specification]


@dataclass(frozen=True)
class Pitfall:
    """One way to go wrong: the field that is changed, what happens, and how to change it.

    edit raises InputError where a specification has nothing to change. kind: an edited `accuracy`
    run, or an experiment of its own: `cold` (first calls beside later ones) or `statistic` (one
    run, told in several ways).
    """

    name: str
    field: str
    expected: str
    edit: Edit
    kind: str = "accuracy"


def changed_fields(before: Specification, after: Specification) -> list[Change]:
    """Every field that differs, by its path: `model.inputs[0].parameters.color_mode`.

    Checksums follow the files that they are of, and are not told.
    """
    return [*_changes("", before.as_data(), after.as_data())]


def _changes(path: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            name = f"{path}.{key}" if path else key
            yield from _changes(name, before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and _of_maps(before, after):
        for index, (a, b) in enumerate(zip(before, after, strict=True)):
            yield from _changes(f"{path}[{index}]", a, b)
    elif before != after and not path.endswith("checksum"):
        yield Change(field=path, before=before, after=after)


def _of_maps(before: list[Any], after: list[Any]) -> bool:
    return len(before) == len(after) and all(isinstance(x, dict) for x in [*before, *after])


# ---------------------------------------------------------------- edits of the first input


def _image(spec: Specification) -> InputParameters:
    """The parameters of the model's image; InputError where it takes none."""
    first = next((one for one in spec.manifest.inputs if one.type == "image"), None)
    if first is None:
        kinds = ", ".join(one.type for one in spec.manifest.inputs)
        raise InputError(f"{spec.manifest.name} takes no image but {kinds}: nothing to change")
    return first.parameters


def _with(spec: Specification, **changed: Any) -> Specification:
    """The specification with other parameters of its first image."""
    inputs = list(spec.manifest.inputs)
    place = next(at for at, one in enumerate(inputs) if one.type == "image")
    parameters = msgspec.structs.replace(inputs[place].parameters, **changed)
    inputs[place] = msgspec.structs.replace(inputs[place], parameters=parameters)
    return replace(spec, manifest=msgspec.structs.replace(spec.manifest, inputs=inputs))


def _color(spec: Specification) -> Specification:
    mode = _image(spec).color_mode
    if mode == "L":
        raise InputError(
            f"{spec.manifest.name} looks at grey images: there are no channels to swap"
        )
    return _with(spec, color_mode={"RGB": "BGR", "BGR": "RGB"}[mode])


def _scale(spec: Specification) -> Specification:
    if _image(spec).scale == 1:
        raise InputError(f"{spec.manifest.name} has scale 1: there is none to forget")
    return _with(spec, scale=1.0)


def _mean(spec: Specification) -> Specification:
    if _image(spec).mean in (0, [0, 0, 0]):
        raise InputError(f"{spec.manifest.name} has mean 0: there is none to forget")
    return _with(spec, mean=0.0)


def _mean_order(spec: Specification) -> Specification:
    mean = _image(spec).mean
    if not isinstance(mean, list) or mean == mean[::-1]:
        raise InputError(f"{spec.manifest.name} has mean {mean}, the same in either order")
    return _with(spec, mean=mean[::-1])


def _crop(spec: Specification) -> Specification:
    if _image(spec).crop_method == "none":
        raise InputError(f"{spec.manifest.name} crops nothing: there is no crop to leave out")
    return _with(spec, crop_method="none")


def _resize(spec: Specification) -> Specification:
    now = _image(spec).interpolation
    return _with(spec, interpolation="bilinear" if now == "nearest" else "nearest")


def _aspect(spec: Specification) -> Specification:
    now = _image(spec).resize_method
    return _with(spec, resize_method="stretch" if now in ("cover", "contain", "pad") else "pad")


def _decoder(spec: Specification) -> Specification:
    return _with(spec, decoder="opencv" if _image(spec).decoder != "opencv" else "pillow")


def _order(spec: Specification) -> Specification:
    steps = _image(spec).steps or ["decode", "resize", "crop", "normalize", "transpose"]
    if not {"resize", "crop"} <= {*steps}:
        raise InputError(f"{spec.manifest.name} has the steps {steps}: no two to exchange")
    swap = {"resize": "crop", "crop": "resize"}
    return _with(spec, steps=[swap.get(step, step) for step in steps])


def _code(spec: Specification, code: str) -> Specification:
    _image(spec)
    if spec.manifest.after_preprocess:
        raise InputError(f"{spec.manifest.name} has an after_preprocess of its own: it would go")
    return replace(spec, manifest=msgspec.structs.replace(spec.manifest, after_preprocess=code))


def _layout(spec: Specification) -> Specification:
    return _code(spec, MISREAD)


def _integers(spec: Specification) -> Specification:
    return _code(spec, WHOLE)


# ---------------------------------------------------------------- edits of the rest


def shifted(dataset: DatasetManifest) -> list[str]:
    """The dataset's labels moved on by one: a file whose first line is another class's."""
    names = dataset.labels
    if len(names) < 2:
        text = f"{dataset.name} lists no labels in its manifest"
        raise InputError(f"{text}: there are none to shift by one")
    return [*names[-1:], *names[:-1]]


def _labels(spec: Specification) -> Specification:
    """Another labels file; its checksum is no decision of its own, and goes with it."""
    outputs = list(spec.manifest.outputs)
    if not outputs or outputs[0].type != "classification":
        kinds = ", ".join(one.type for one in outputs) or "nothing"
        raise InputError(f"{spec.manifest.name} gives {kinds}: expected a classification")
    url, checksum = spec.shifted_labels
    parameters = msgspec.structs.replace(outputs[0].parameters, url=url, checksum=checksum)
    outputs[0] = msgspec.structs.replace(outputs[0], parameters=parameters)
    return replace(spec, manifest=msgspec.structs.replace(spec.manifest, outputs=outputs))


def _setting(name: str, value: str) -> Edit:
    def edit(spec: Specification) -> Specification:
        return replace(spec, settings={**spec.settings, name: value})

    return edit


def _cold(spec: Specification) -> Specification:
    return replace(spec, warmup=0)


def _same(spec: Specification) -> Specification:
    return spec


PITFALLS: tuple[Pitfall, ...] = (
    Pitfall(
        "color", "inputs[].parameters.color_mode", "top-1 drops much where colour matters", _color
    ),
    Pitfall(
        "layout",
        "after_preprocess (a misread NCHW / NHWC; needs a node with --allow-code)",
        "near chance for colour images; nothing changes where there is one channel",
        _layout,
    ),
    Pitfall("scale", "inputs[].parameters.scale", "values are too large: answers change", _scale),
    Pitfall("mean", "inputs[].parameters.mean", "a moderate drop", _mean),
    Pitfall("mean-order", "inputs[].parameters.mean", "a small drop", _mean_order),
    Pitfall(
        "integers",
        "after_preprocess (a division of whole numbers; needs a node with --allow-code)",
        "values are quantised: few answers change, or all where little is left",
        _integers,
    ),
    Pitfall("crop", "inputs[].parameters.crop_method", "small and not zero", _crop),
    Pitfall("resize", "inputs[].parameters.interpolation", "small", _resize),
    Pitfall("aspect", "inputs[].parameters.resize_method", "small", _aspect),
    Pitfall("decoder", "inputs[].parameters.decoder", "pixels differ, few answers", _decoder),
    Pitfall("order", "inputs[].parameters.steps", "outputs differ", _order),
    Pitfall("labels", "outputs[].parameters.url", "top-1 near 0, the numbers unchanged", _labels),
    Pitfall(
        "precision",
        "settings.precision",
        "small differences; another speed (PyTorch only)",
        _setting("precision", "bfloat16"),
    ),
    Pitfall(
        "optimization",
        "settings.graph_optimization",
        "the last digits differ; slower (ONNX Runtime only)",
        _setting("graph_optimization", "disabled"),
    ),
    Pitfall(
        "input-list",
        "settings.feed",
        "slower: numbers are converted in each call; the answers are the same",
        _setting("feed", "list"),
    ),
    Pitfall(
        "input-native",
        "settings.feed",
        "faster where copying inputs costs anything; the answers are the same (ONNX Runtime only)",
        _setting("feed", "native"),
    ),
    Pitfall("cold-start", "warmup", "the first calls take much longer", _cold, kind="cold"),
    Pitfall(
        "statistic",
        "metric",
        "the mean is not the trimmed mean is not the median",
        _same,
        kind="statistic",
    ),
)


def pitfall_named(name: str) -> Pitfall:
    """The pitfall of this name; UnknownNameError lists those there are."""
    found = next((one for one in PITFALLS if one.name == name), None)
    if found is None:
        raise UnknownNameError("pitfall", name, names())
    return found


def names() -> Sequence[str]:
    """Every pitfall's name."""
    return [one.name for one in PITFALLS]
