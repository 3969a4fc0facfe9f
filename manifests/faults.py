"""What is wrong with a manifest's data: every fault at once, each with its field and its line.

Slow (jsonschema takes 0.2 s to import) and so only asked when reading has failed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from bus.errors import nearest
from bus.messages import Manifest
from manifests.reading import Document, Fault, Path, field_name
from manifests.rules import shown, wrong_values

_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}


def schema(kind: type = Manifest) -> dict[str, Any]:
    """The JSON Schema of a manifest (or of a dataset's), made from its type."""
    return msgspec.json.schema(kind)


def faults_of(document: Document, kind: type = Manifest) -> list[Fault]:
    """Every fault of a document, in the order of its lines."""
    found = [*document.faults, *_against_schema(document, kind), *wrong_values(document)]
    return sorted(dict.fromkeys(found), key=lambda fault: (fault.line, fault.field))


def _against_schema(document: Document, kind: type) -> Iterator[Fault]:
    from jsonschema import Draft202012Validator

    whole = schema(kind)
    typed = _typed(document.data, whole, whole["$defs"])
    for error in Draft202012Validator(whole).iter_errors(typed):
        yield from _told(error, document)


def _typed(value: Any, wanted: dict[str, Any], types: dict[str, Any]) -> Any:
    """`value` with its text read as the numbers and truths that the schema wants, where it can."""
    if "$ref" in wanted:
        wanted = types[wanted["$ref"].rsplit("/", 1)[1]]
    for option in wanted.get("anyOf", ()):
        read = _typed(value, option, types)
        if _is(read, option.get("type")):
            return read
    if isinstance(value, dict):
        fields, other = wanted.get("properties", {}), wanted.get("additionalProperties")
        other = other if isinstance(other, dict) else {}
        return {name: _typed(v, fields.get(name, other), types) for name, v in value.items()}
    if isinstance(value, list):
        return [_typed(item, wanted.get("items", {}), types) for item in value]
    return _scalar(value, wanted.get("type"))


def _is(value: Any, kind: str | None) -> bool:
    """Whether a value is of the schema's type; text in place of a list or a number is not."""
    types = {"string": str, "array": list, "object": dict, "boolean": bool}
    if kind in ("integer", "number"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return kind in types and isinstance(value, types[kind])


def _scalar(text: str, kind: str | None) -> Any:
    python: dict[str, type] = {"integer": int, "number": float, "boolean": bool}
    if kind not in python:
        return text
    try:
        value: Any = msgspec.convert(text, python[kind], strict=False)
    except msgspec.ValidationError:
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value


def _told(error: Any, document: Document) -> Iterator[Fault]:
    path: Path = tuple(error.absolute_path)
    name, line = field_name(path), document.line(path)
    match error.validator:
        case "additionalProperties":
            known = list(error.schema.get("properties", {}))
            for extra in error.instance:
                if extra not in known:
                    yield _unknown((*path, extra), known, document)
        case "required":
            for missing in error.validator_value:
                if missing not in error.instance:
                    yield Fault(line, field_name((*path, missing)), "expected, and it is missing")
        case "enum":
            options = ", ".join(map(str, error.validator_value))
            yield Fault(line, name, f"expected one of {options} (got {shown(error.instance)})")
        case "anyOf":
            options = " or ".join(_words(option) for option in error.validator_value)
            yield Fault(line, name, f"expected {options} (got {shown(error.instance)})")
        case _:
            yield Fault(
                line, name, f"expected {_words(error.schema)} (got {shown(error.instance)})"
            )


def _unknown(path: Path, known: list[str], document: Document) -> Fault:
    close = nearest(str(path[-1]), known)
    hint = f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(known)}"
    return Fault(document.line(path), field_name(path), f"unknown field; {hint}")


def _words(wanted: dict[str, Any]) -> str:
    kind = wanted.get("type", "")
    items = wanted.get("items", {}).get("type", "")
    if kind == "array" and items:
        return f"a list of {_WORDS[items].split(' ', 1)[-1]}s".replace("texts", "text")
    return _WORDS.get(kind, "another value")
