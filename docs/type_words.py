"""What the pages' makers share: types and defaults in words, and what is written below a field."""

from __future__ import annotations

import ast
import base64
import inspect
import json
import textwrap
from typing import Any

import msgspec


def text_of(kind: type) -> str:
    """A type's docstring."""
    return inspect.cleandoc(kind.__doc__ or "")


def default_of(field: msgspec.inspect.Field) -> str:
    """A field's default, as JSON."""
    if field.default_factory is not msgspec.NODEFAULT:
        return json.dumps(msgspec.to_builtins(field.default_factory()))
    return json.dumps(plain(field.default))


def plain(value: Any) -> Any:
    """A message as JSON shows it: bytes as base64."""
    return (
        msgspec.json.decode(msgspec.json.encode(value))
        if not isinstance(value, bytes)
        else (base64.b64encode(value).decode())
    )


def type_of(kind: msgspec.inspect.Type) -> str:
    """A field's type in words; of a struct the link to its section."""
    match kind:
        case msgspec.inspect.ListType(item_type=item):
            return f"array of {type_of(item)}"
        case msgspec.inspect.DictType(value_type=value):
            return f"map of {type_of(value)}"
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(type_of(one) for one in types)
        case msgspec.inspect.StructType(cls=cls):
            return f"[{cls.__name__}](#{cls.__name__.lower()})"
        case msgspec.inspect.LiteralType(values=values):
            return " ".join(f"`{value}`" for value in values if value != "")
        case msgspec.inspect.NoneType():
            return "nil"
    names = {"Str": "text", "Int": "whole number", "Float": "number", "Bool": "true or false"}
    name = type(kind).__name__.removesuffix("Type")
    return names.get(name, {"Bytes": "bytes", "Any": "anything"}.get(name, name.lower()))


def field_texts(kind: type) -> dict[str, str]:
    """What is written below each field of a struct: field -> its text."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, after in zip(definition.body, definition.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[field.target.id] = " ".join(inspect.cleandoc(str(after.value.value)).split())
    return found
