"""Makes docs/manifest.md and the JSON Schemas of manifests from bus/manifest.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from type_words import default_of, field_texts, text_of, type_of

from bus import manifest as types
from manifests.kinds import (
    DIMENSIONS,
    INPUT_ALIASES,
    INPUT_FIELDS,
    INPUTS,
    OUTPUT_FIELDS,
    OUTPUTS,
    SCHEMES,
)

HERE = Path(__file__).parent
MODEL_TYPES = (
    types.Manifest,
    types.FrameworkWanted,
    types.ModelInput,
    types.InputParameters,
    types.ModelOutput,
    types.OutputParameters,
    types.ModelResources,
    types.Sample,
    types.Claim,
)
DATASET_TYPES = (types.DatasetManifest, types.DatasetFile, types.Selection)
TEXTS_LIKE_NUMBERS = ("version", "license", "name")
"""Fields that are text, and that an editor takes for numbers when they are written `1.0`."""


def manifest_page() -> str:
    """docs/manifest.md as text."""
    introduction = (HERE / "manifest_introduction.md").read_text()
    parts = [introduction.replace("{example}", (HERE / "example-manifest.yml").read_text().strip())]
    parts.append("\n## Every field of a model's manifest\n")
    parts += [_section(kind) for kind in MODEL_TYPES]
    parts.append("\n## What belongs to which type\n\n" + _belongings())
    parts.append("\n## Every field of a dataset's manifest\n")
    parts += [_section(kind) for kind in DATASET_TYPES]
    return "".join(parts)


def _section(kind: type) -> str:
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    texts = field_texts(kind)
    lines = [f"\n### {kind.__name__}\n\n{text_of(kind)}\n"]
    lines.append("\n| field | type | default | meaning |\n|---|---|---|---|\n")
    for field in info.fields:
        default = "required" if field.required else f"`{default_of(field)}`"
        if isinstance(field.type, msgspec.inspect.StructType) and not field.required:
            default = ""
        meaning = texts.get(field.name, "").replace("|", "\\|")
        lines.append(f"| `{field.name}` | {type_of(field.type)} | {default} | {meaning} |\n")
    return "".join(lines)


def _belongings() -> str:
    """Which parameters each type of input and output may have, beside those that all have."""
    lines = ["| input | dimensions | parameters of its own |\n|---|---|---|\n"]
    for kind in INPUTS:
        counts, meaning = DIMENSIONS.get(kind, ((), ""))
        size = f"{' or '.join(map(str, counts))}: {meaning}" if counts else "any"
        also = [name for name, meant in INPUT_ALIASES.items() if meant == kind]
        names = f"`{kind}`" + (f" (also `{'`, `'.join(also)}`)" if also else "")
        lines.append(f"| {names} | {size} | {_own(kind, INPUT_FIELDS)} |\n")
    lines.append("\n| output | parameters of its own |\n|---|---|\n")
    lines += [f"| `{kind}` | {_own(kind, OUTPUT_FIELDS)} |\n" for kind in OUTPUTS]
    return "".join(lines)


def _own(kind: str, table: dict[str, tuple[str, ...]]) -> str:
    return ", ".join(f"`{name}`" for name, owners in table.items() if kind in owners)


# ------------------------------------------------------------------ JSON Schema


def json_schema(kind: type, name: str, title: str) -> dict[str, Any]:
    """The JSON Schema of a manifest with what each field means, for editors and other programs."""
    whole = msgspec.json.schema(kind)
    structs = {one.__name__: one for one in (*MODEL_TYPES, *DATASET_TYPES)}
    for struct, schema in whole["$defs"].items():
        texts = field_texts(structs[struct])
        schema["description"] = text_of(structs[struct])
        for field, wanted in schema["properties"].items():
            if field in texts:
                wanted["description"] = texts[field]
            if field in TEXTS_LIKE_NUMBERS and wanted.get("type") == "string":
                wanted["type"] = ["string", "number"]
    _name_types(whole["$defs"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:mlmodelscope:{name}",
        "title": title,
        "description": text_of(kind).splitlines()[0],
        **whole,
    }


def _name_types(structs: dict[str, Any]) -> None:
    """The kinds of inputs and outputs, and how addresses begin: what the types leave to rules."""
    if "ModelInput" in structs:
        structs["ModelInput"]["properties"]["type"]["enum"] = [*INPUTS, *INPUT_ALIASES]
        structs["ModelOutput"]["properties"]["type"]["enum"] = list(OUTPUTS)
    schemes = "|".join(SCHEMES)
    for struct in structs.values():
        for field, wanted in struct["properties"].items():
            if field.endswith("checksum"):
                wanted["pattern"] = "^$|^(sha256:)?[0-9a-fA-F]{64}$|^(md5:)?[0-9a-fA-F]{32}$"
            elif field in ("url", "base_url", "graph_path", "weights_path", "tokenizer"):
                wanted["pattern"] = f"^({schemes})://|^(?!.*://)"


def manifest_pages() -> dict[Path, str]:
    """Every file that is made here, and what it must hold."""
    schemas = {
        "manifest.schema.json": (types.Manifest, "manifest", "A model's manifest"),
        "dataset.schema.json": (types.DatasetManifest, "dataset", "A dataset's manifest"),
    }
    made = {
        HERE / file: json.dumps(json_schema(*given), ensure_ascii=False, indent=1) + "\n"
        for file, given in schemas.items()
    }
    return {HERE / "manifest.md": manifest_page(), **made}
