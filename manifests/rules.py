"""What a manifest's types cannot say: each rule looks at plain data and yields what is wrong.

A rule looks only at what is there, so a dataset's manifest meets the same rules as a model's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from bus.claims import FRACTIONS, RATES, TIMES, plain_metric
from bus.errors import InputError, nearest
from manifests.kinds import ARCHITECTURES, DEVICES, SCHEMES
from manifests.reading import At, Document, Fault
from manifests.tensor_rules import wrong_inputs, wrong_outputs
from manifests.version import check_range, normalise

LONGEST_NAME = 128
_CHECKSUM = re.compile(r"sha256:[0-9a-fA-F]{64}|md5:[0-9a-fA-F]{32}")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_CONSTRUCTOR = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_REQUIREMENT = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)\s*([<>=!~^].*)?")


def wrong_values(document: Document) -> Iterator[Fault]:
    """Everything that is wrong with a document's values."""
    top = At(document, (), document.data)
    for rule in RULES:
        yield from rule(top)


# ------------------------------------------------------------------ names, versions


def _named(top: At) -> Iterator[Fault]:
    for at, problem in (
        (top["name"], _name),
        (top["version"], _version),
        (top["framework"]["name"], _name),
        (top["framework"]["version"], _range),
    ):
        if isinstance(at.value, str) and (text := problem(at.text)):
            yield at.fault(text)


def _name(value: str) -> str:
    if len(value) > LONGEST_NAME:
        return f"expected at most {LONGEST_NAME} characters (got {len(value)})"
    if value.strip() and "@" not in value and value.isprintable():
        return ""
    return f"expected a name without @ (got {shown(value)})"


def _version(value: str) -> str:
    return _problem(normalise, value)


def _range(value: str) -> str:
    return _problem(check_range, value)


def _problem(check: Callable[[str], object], value: str) -> str:
    try:
        check(value)
    except InputError as exc:
        return str(exc)
    return ""


def _containers(top: At) -> Iterator[Fault]:
    for architecture, images in top["container"].members():
        if architecture not in ARCHITECTURES:
            yield images.fault(_one_of("architecture", architecture, ARCHITECTURES))
        for device, image in images.members():
            if device not in DEVICES:
                yield image.fault(_one_of("device", device, DEVICES))
            elif isinstance(image.value, str) and not image.text.strip():
                yield image.fault("expected the name of a container image (got '')")


def _dockerfile(top: At) -> Iterator[Fault]:
    at = top["dockerfile"]
    text = at.text.replace("\\\n", " ")
    if not text.strip():
        return
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not any(words[0].upper() == "FROM" for words in lines):
        yield at.fault(f"expected the text of a Dockerfile, with a FROM (got {shown(at.text)})")
    for words in lines:
        what, given = words[0].upper(), [w for w in words[1:] if not w.startswith("--")]
        staged = any(word.startswith("--from") for word in words[1:])
        local = [source for source in given[:-1] if "://" not in source]
        if what in ("COPY", "ADD") and local and not staged:
            yield at.fault(
                f"{what} {local[0]}: no files lie beside it; expected RUN, or ADD of a URL"
            )


# ------------------------------------------------------------------ files


def _files(top: At) -> Iterator[Fault]:
    model = top["model"]
    addresses = [model["base_url"], model["graph_path"], model["weights_path"]]
    checksums = [model[f"{name}_checksum"] for name in ("graph", "weights", "archive")]
    for one in top["inputs"].each():
        addresses.append(one["parameters"]["tokenizer"])
        checksums.append(one["parameters"]["tokenizer_checksum"])
    for one in top["outputs"].each():
        addresses += [one["parameters"][name] for name in ("url", "features_url")]
        checksums += [one["parameters"][name] for name in ("checksum", "features_checksum")]
    for one in top["samples"].each():
        addresses.append(one["url"])
        checksums.append(one["checksum"])
    for _, one in top["files"].members():
        # A dataset's folder may be read in place, by a node on the same machine.
        if not one["url"].text.startswith("file:///"):
            addresses.append(one["url"])
        checksums.append(one["checksum"])
    addresses.append(top["labels_url"])
    checksums.append(top["labels_checksum"])
    for at in addresses:
        if problem := _address(at.text):
            yield at.fault(problem)
    for at in checksums:
        if at.text and not _CHECKSUM.fullmatch(at.text):
            form = "sha256:<64 hexadecimal digits> (or md5:<32 of them>)"
            yield at.fault(f"expected {form} (got {shown(at.text)})")


def _address(text: str) -> str:
    if "\0" in text:
        return f"expected an address without a zero byte (got {shown(text)})"
    scheme = _SCHEME.match(text)
    if scheme is None or scheme[1].lower() in SCHEMES:
        return ""
    known = ", ".join(f"{name}://" for name in SCHEMES)
    return f"expected a path, or an address that begins with {known} (got {shown(text)})"


def _model(top: At) -> Iterator[Fault]:
    model = top["model"]
    if not isinstance(model.value, dict):
        return
    if not (model["graph_path"].text or model["constructor"].text):
        yield model.fault("expected graph_path, the model's file (or constructor, which makes it)")
    archive = model["is_archive"].value in (True, "true", "True", "1")
    if archive and not model["base_url"].text:
        yield model["base_url"].fault("expected the archive's address, for is_archive is set")
    if model["archive_checksum"].text and not archive:
        yield model["archive_checksum"].fault("belongs to an archive: expected is_archive: true")
    for name in ("graph_path", "weights_path"):
        if archive and _climbs(model[name].text):
            wrong = f"expected a path inside the archive (got {shown(model[name].text)})"
            yield model[name].fault(wrong)
    if (name := model["constructor"].text) and not _CONSTRUCTOR.fullmatch(name):
        yield model["constructor"].fault(f"expected package.module:function (got {shown(name)})")
    if model["arguments"].value and not name:
        yield model["arguments"].fault("belongs to constructor: expected one")
    for at in model["requires"].each():
        if isinstance(at.value, str) and (text := _requirement(at.text)):
            yield at.fault(text)


def _climbs(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/")


def _requirement(text: str) -> str:
    match = _REQUIREMENT.fullmatch(text.strip())
    if match is None:
        return f"expected `name` or `name>=1.2` (got {shown(text)})"
    return _range(match[3] or "")


def requirement(text: str) -> tuple[str, str]:
    """`torchvision>=0.20` as a package's name and its range."""
    match = _REQUIREMENT.fullmatch(text.strip())
    return (match[1], (match[3] or "").strip()) if match else (text.strip(), "")


# ------------------------------------------------------------------ claims


def _claims(top: At) -> Iterator[Fault]:
    for claim in top["claims"].each():
        metric, value, unit = claim["metric"], claim["value"].number, claim["unit"].text
        if isinstance(metric.value, str) and not metric.text.strip():
            yield metric.fault("expected a metric such as top1, mAP, latency (got '')")
        if (size := claim["batch_size"].number) is not None and size < 0:
            yield claim["batch_size"].fault(f"expected 1 or more, or 0: not said (got {size:g})")
        if problem := _unit(plain_metric(metric.text), unit):
            yield claim["unit"].fault(problem)
        elif value is not None and (problem := _amount(plain_metric(metric.text), value, unit)):
            yield claim["value"].fault(problem)


def _unit(metric: str, unit: str) -> str:
    if metric in FRACTIONS and unit not in ("", "%"):
        return f"expected %, or nothing for a part of 1 (got {shown(unit)})"
    if metric == "latency" and unit not in TIMES:
        return f"expected one of {', '.join(TIMES)} (got {shown(unit)})"
    if metric == "throughput" and unit not in RATES:
        return f"expected inputs/s (got {shown(unit)})"
    return ""


def _amount(metric: str, value: float, unit: str) -> str:
    if metric in FRACTIONS:
        most = 100 if unit == "%" else 1
        if not 0 <= value <= most:
            percent = "" if unit else ", or unit: '%'"
            return f"expected 0 to {most}{percent} (got {value:g})"
    elif metric in ("latency", "throughput") and value <= 0:
        return f"expected more than 0 (got {value:g})"
    return ""


def _selection(top: At) -> Iterator[Fault]:
    for name in ("seed", "skip", "count"):
        number = top["select"][name].number
        if number is not None and number < 0:
            yield top["select"][name].fault(f"expected 0 or more (got {number:g})")


def _one_of(what: str, name: str, known: tuple[str, ...]) -> str:
    close = nearest(name, known)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"unknown {what}: expected one of {', '.join(known)}{hint}"


def shown(value: object) -> str:
    """A value as a fault quotes it."""
    if isinstance(value, dict):
        return "a mapping"
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


RULES = (
    _named,
    _containers,
    _dockerfile,
    wrong_inputs,
    wrong_outputs,
    _model,
    _files,
    _claims,
    _selection,
)
