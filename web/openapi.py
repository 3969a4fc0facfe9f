"""The OpenAPI 3.1 document, made of the operations and of the types that they name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from web.operations import JSON, ONE_NAME, Operation
from web.problems import MEDIA, Problem

REF = "#/components/schemas/{name}"
EVERYWHERE = (400, 401, 403, 421, 429, 502, 503)
"""What every operation may answer: no login, another site's page, a service that is away."""
TEXT: dict[str, Any] = {**ONE_NAME, "type": "string"}


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The whole document."""
    types = _types(operations)
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    known = dict(zip(map(_key, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, known, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MLModelScope",
            "version": version,
            "description": "Every time is in nanoseconds, every size in bytes. Bytes in JSON are "
            "base64. Errors are RFC 9457 problem documents whose `kind` is for programs.",
        },
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _types(operations: Sequence[Operation]) -> list[Any]:
    found: dict[str, Any] = {_key(Problem): Problem}
    for one in operations:
        for kind in (one.query, one.body, one.answer):
            if kind is not None:
                found[_key(kind)] = kind
    return list(found.values())


def _key(kind: Any) -> str:
    return str(kind)


def _operation(one: Operation, known: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "description": f"Needs the role `{one.role}`.",
        "tags": [one.tag],
        "parameters": _parameters(one, known, components),
        "responses": _responses(one, known),
    }
    if one.body is not None:
        content = {JSON: {"schema": known[_key(one.body)]}}
        described["requestBody"] = {"required": True, "content": content}
    if one.raw_body:
        raw = {one.raw_body: {"schema": {"type": "string", "format": "binary", "minLength": 1}}}
        described["requestBody"] = {"required": True, "content": raw}
    return described


def _parameters(
    one: Operation, known: dict[str, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": one.parameters.get(name, TEXT)}
        for name in re.findall(r"{(\w+)}", one.path)
    ]
    if one.query is not None:
        schema = components[known[_key(one.query)]["$ref"].rsplit("/", 1)[-1]]
        for name, value in schema["properties"].items():
            found.append({"name": name, "in": "query", "required": False, "schema": value})
    return found


def _responses(one: Operation, known: dict[str, Any]) -> dict[str, Any]:
    schema = known[_key(one.answer)] if one.answer is not None else None
    content = {media: {"schema": schema} if schema and media == JSON else {} for media in one.media}
    problem = {MEDIA: {"schema": known[_key(Problem)]}}
    statuses = {*EVERYWHERE, *one.errors}
    statuses |= {422} if one.query or one.body or one.raw_body else set()
    statuses |= {413, 415} if one.body or one.raw_body else set()
    statuses |= {404} if "{" in one.path else set()
    statuses |= {422} if "{" in one.path else set()
    return {
        str(one.status): {"description": one.summary, "content": content},
        **{
            str(code): {"description": "A problem", "content": problem} for code in sorted(statuses)
        },
    }
