"""Whether a manifest is complete enough to be run, whether it brings code, who may see it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from bus.messages import DatasetManifest, Manifest
from manifests.kinds import CODE_FIELDS

_PLACEHOLDER_CODE = re.compile(r"\[*\s*code\s*\]*", re.IGNORECASE)


GroupsOf = Callable[[str], frozenset[str]]
"""The groups that a user is in."""


def in_no_group(user: str) -> frozenset[str]:
    """Where nobody keeps groups."""
    return frozenset()


def not_runnable(manifest: Manifest) -> str:
    """Why a manifest cannot be run, or "" where nothing in it stands against that."""
    for name in CODE_FIELDS:
        if text := _text_in(getattr(manifest, name)):
            if _PLACEHOLDER_CODE.fullmatch(text):
                return f"{name} is a placeholder ([[code]]): put the steps in its place"
            if problem := _no_code(getattr(manifest, name)):
                return f"{name}: {problem}"
    for field, url in _urls(manifest):
        if "…" in url or "..." in url:
            return f"{field} is a placeholder ({url}): put the whole address in its place"
    if not (manifest.model.graph_path or manifest.model.constructor):
        return "model.graph_path is missing: say where the model's file is"
    return ""


def has_code(manifest: Manifest) -> bool:
    """Whether a manifest brings code of its own, which only some nodes allow."""
    return any(_text_in(getattr(manifest, name)) for name in CODE_FIELDS)


def seen_by(
    manifest: Manifest | DatasetManifest, user: str | None, groups: GroupsOf = in_no_group
) -> bool:
    """Whether this user may know of a manifest; None: who asks for the system itself."""
    if user is None or manifest.visibility == "public" or manifest.owner == user:
        return True
    return bool(manifest.groups) and not groups(user).isdisjoint(manifest.groups)


def _no_code(code: str | list[Any]) -> str:
    if not isinstance(code, str):
        return "expected Python as text (after a |), got a list"
    return _not_python(code)


@lru_cache(maxsize=256)
def _not_python(code: str) -> str:
    """Why text is no code of ours, without running any of it."""
    try:
        tree = ast.parse(code)
    except SyntaxError as exc:
        return f"not Python: line {exc.lineno}: {exc.msg}"
    except (ValueError, RecursionError, MemoryError) as exc:
        return f"not Python: {type(exc).__name__}: {exc}"
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "run" not in defined:
        there = f"it defines {', '.join(sorted(defined))}" if defined else "it defines nothing"
        return f"expected Python that defines run(context, data); {there}"
    return ""


def _text_in(code: Any) -> str:
    if isinstance(code, list):
        return " ".join(text for item in code if (text := _text_in(item)))
    return str(code).strip()


def _urls(manifest: Manifest) -> list[tuple[str, str]]:
    model = manifest.model
    urls = [(f"model.{n}", getattr(model, n)) for n in ("base_url", "graph_path", "weights_path")]
    for index, output in enumerate(manifest.outputs):
        for name in ("url", "features_url"):
            urls.append((f"outputs[{index}].parameters.{name}", getattr(output.parameters, name)))
    for index, one in enumerate(manifest.inputs):
        urls.append((f"inputs[{index}].parameters.tokenizer", one.parameters.tokenizer))
    urls += [(f"samples[{i}].url", sample.url) for i, sample in enumerate(manifest.samples)]
    return urls
