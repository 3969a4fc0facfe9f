"""The rules of inputs and outputs: their types, what belongs to each, sizes and lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bus.errors import nearest
from manifests.kinds import (
    DIMENSIONS,
    INPUT_ALIASES,
    INPUT_FIELDS,
    INPUTS,
    OUTPUT_FIELDS,
    OUTPUTS,
    input_kind,
)
from manifests.reading import At, Fault

_COUNTS = (
    "max_dimension",
    "max_length",
    "window",
    "hop",
    "lead_in",
    "beginning",
    "ending",
    "block",
)
_CHANNELS = {"L": (1,), "RGB": (3,), "BGR": (3,)}
_SAME = (
    ("url", "features_url"),
    ("checksum", "features_checksum"),
    ("transform", "probabilities_transform"),
)


# ------------------------------------------------------------------ inputs


def wrong_inputs(top: At) -> Iterator[Fault]:
    """What is wrong with the inputs."""
    names: list[str] = []
    for one in top["inputs"].each():
        kind = input_kind(one["type"].text)
        parameters = one["parameters"]
        if isinstance(one["type"].value, str) and kind not in INPUTS:
            yield _unknown(one["type"], "input", (*INPUTS, *INPUT_ALIASES))
            kind = ""
        yield from _twice(one["name"], names)
        if kind:
            yield from _belongs(parameters, kind, INPUT_FIELDS, "inputs")
            yield from _dimensions(parameters["dimensions"], kind)
        yield from _amounts(parameters)
        if kind == "image":
            yield from _channels(parameters)
        elif parameters["element_type"].text == "raw_image":
            yield parameters["element_type"].fault("raw_image belongs to inputs of type image")
        if kind == "state":
            yield from _state(parameters["from_output"])


def _unknown(at: At, what: str, known: tuple[str, ...]) -> Fault:
    close = nearest(at.text, known)
    hint = f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(known)}"
    return at.fault(f"unknown type of {what} {at.text[:40]!r}; {hint}")


def _twice(name: At, names: list[str]) -> Iterator[Fault]:
    if name.text and name.text in names:
        yield name.fault(f"{name.text!r} is the name of two: expected another")
    names.append(name.text)


def _belongs(
    parameters: At, kind: str, fields: Mapping[str, tuple[str, ...]], what: str
) -> Iterator[Fault]:
    """Parameters that mean nothing for this type: the author meant another one."""
    for name, at in parameters.members():
        owners = fields.get(name)
        if owners is not None and kind not in owners:
            yield at.fault(f"belongs to {what} of type {', '.join(owners)}, not to {kind}")


def _dimensions(dimensions: At, kind: str) -> Iterator[Fault]:
    sizes = list(dimensions.each())
    if not sizes:
        return
    lengths, meaning = DIMENSIONS.get(kind, ((), ""))
    if lengths and len(sizes) not in lengths:
        count = " or ".join(map(str, lengths))
        text = f"expected {count} ({meaning}), without the batch (got {len(sizes)})"
        yield dimensions.fault(text)
    yield from _sizes(sizes)


def _sizes(sizes: list[At]) -> Iterator[Fault]:
    for size in sizes:
        if (number := size.number) is not None and number != -1 and number < 1:
            yield size.fault(f"expected a size from 1, or -1 for any (got {number:g})")


def _amounts(parameters: At) -> Iterator[Fault]:
    for name in _COUNTS:
        if (number := parameters[name].number) is not None and number < 0:
            yield parameters[name].fault(f"expected 0 or more (got {number:g})")
    rate = parameters["sample_rate"]
    if rate.number is not None and rate.number < 1:
        yield rate.fault(f"expected samples a second, from 1 (got {rate.number:g})")
    ratio = parameters["crop_ratio"]
    if ratio.number is not None and not 0 < ratio.number <= 2:
        yield ratio.fault(f"expected more than 0 and at most 2 (got {ratio.number:g})")
    scale = parameters["scale"]
    if any(at.number == 0 for at in (scale, *scale.each())):
        yield scale.fault("expected numbers that can be divided by (got 0)")
    met: list[str] = []
    for step in parameters["steps"].each():
        if step.text in met:
            yield step.fault(f"{step.text} is named twice: expected each step once")
        met.append(step.text)


def _channels(parameters: At) -> Iterator[Fault]:
    """Colours, channels, and one mean and scale a channel must agree."""
    sizes = list(parameters["dimensions"].each())
    color = parameters["color_mode"].text or "RGB"
    wanted = _CHANNELS.get(color)
    channels = sizes[0].number if len(sizes) == 3 else None
    if channels is not None and channels > 0 and wanted and channels not in wanted:
        text = f"expected {wanted[0]} channels first, for color_mode {color} (got {channels:g})"
        yield parameters["dimensions"].fault(text)
    count = int(channels) if channels and channels > 0 else wanted[0] if wanted else 0
    for name in ("mean", "scale"):
        given = [at.number for at in parameters[name].each()]
        if given and None not in given and count and len(given) != count:
            expected = f"expected one number, or {count}: one a channel"
            yield parameters[name].fault(f"{expected} (got {len(given)})")


def _state(at: At) -> Iterator[Fault]:
    """Which output only the opened graph can say: a state is handed on, not told to people."""
    if not at.text:
        yield at.fault("expected the name of the output that is handed on, and it is missing")


# ------------------------------------------------------------------ outputs


def wrong_outputs(top: At) -> Iterator[Fault]:
    """What is wrong with the outputs."""
    names: list[str] = []
    for one in top["outputs"].each():
        kind, parameters = one["type"].text, one["parameters"]
        if isinstance(one["type"].value, str) and kind not in OUTPUTS:
            yield _unknown(one["type"], "output", OUTPUTS)
            kind = ""
        yield from _twice(one["name"], names)
        if kind:
            yield from _belongs(parameters, kind, OUTPUT_FIELDS, "outputs")
        yield from _sizes(list(parameters["dimensions"].each()))
        for ours, original in _SAME:
            if parameters[ours].text and parameters[original].text:
                text = f"written beside {ours}, which means the same: expected one of them"
                yield parameters[original].fault(text)
        threshold = parameters["threshold"]
        if threshold.number is not None and not 0 <= threshold.number <= 1:
            yield threshold.fault(f"expected a probability from 0 to 1 (got {threshold.number:g})")
