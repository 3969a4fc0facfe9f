"""A node's environments: which there are, what each can load, and what stands against the rest."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from typing import Any

from bus.errors import InputError
from bus.messages import FrameworkSeen
from predictor_node.capabilities import frameworks_seen
from predictor_node.process import Environment, WorkerDied, plugins, profilers

DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Seen:
    """What the environments of a node can load, and why some of it cannot be had."""

    frameworks: list[FrameworkSeen] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)


def read_environments(
    pythons: str, plugin_files: str, allow_code: bool, profiler_files: str = ""
) -> dict[str, Environment]:
    """The environments of a node's settings, its own Python first; none is looked into yet.

    pythons: `name=/path/to/python,…`; plugin_files: `name=/path/to/plugin.py,…`, framework modules
    (or executables) that no package brings, offered to every environment; profiler_files likewise.
    """
    offered = {**plugins(), **read_plugins(plugin_files)}
    looking = {**profilers(), **read_plugins(profiler_files, "profiler")}
    found = {DEFAULT: Environment(DEFAULT, sys.executable, allow_code, offered, looking)}
    for name, python in read_pairs(pythons, "environment").items():
        if name == DEFAULT:
            raise InputError(f"environment {DEFAULT} is the node's own Python: take another name")
        path = shutil.which(os.path.expanduser(python)) or os.path.expanduser(python)
        # Made absolute, never resolved: what makes it a virtual environment is where its link lies.
        found[name] = Environment(
            name, os.path.abspath(path), allow_code, dict(offered), dict(looking)
        )
    return found


def read_plugins(text: str, what: str = "plugin") -> dict[str, str]:
    """`name=PATH,…` as a map of absolute paths; InputError for a file that is not there."""
    found = {}
    for name, given in read_pairs(text, what).items():
        path = os.path.abspath(os.path.expanduser(given))
        if not os.path.isfile(path):
            raise InputError(f"{what} {name}: there is no file {path}")
        found[name] = path
    return found


def read_pairs(text: str, what: str) -> dict[str, str]:
    """`name=path,name=path` as a map; InputError naming the part that is not."""
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, path = (piece.strip() for piece in part.partition("="))
        if not path or not _NAME.fullmatch(name):
            raise InputError(
                f"{what} {part!r}: expected name=PATH,name=PATH (letters, digits, .-_)"
            )
        if name in found:
            raise InputError(f"{what} {name} is given twice: {found[name]} and {path}")
        found[name] = path
    return found


async def look(environments: dict[str, Environment], named: str = "") -> Seen:
    """Ask every environment, all at once, what it can load; one that cannot say is taken out.

    named: the plugins that the settings name, which have to be loadable somewhere.
    """
    asked = list(environments.values())
    answers = await asyncio.gather(*(each.describe() for each in asked), return_exceptions=True)
    seen = Seen()
    refusals: dict[str, dict[str, str]] = {}
    for environment, answer in zip(asked, answers, strict=True):
        if isinstance(answer, WorkerDied):
            seen.unavailable[f"environment {environment.name}"] = str(answer)
            del environments[environment.name]
        elif isinstance(answer, BaseException):
            raise answer
        else:
            seen.frameworks.extend(frameworks_seen(answer, environment.name))
            for unusable in answer["unusable"]:
                refusals.setdefault(unusable["name"], {})[environment.name] = _why(unusable, named)
            _levels_unseen(answer["profilers"], seen)
    for name, why in _worth_saying(refusals, seen).items():
        seen.unavailable[f"framework {name}"] = why
    served = {level for framework in seen.frameworks for level in framework.levels}
    for level in served & seen.unavailable.keys():
        del seen.unavailable[level]  # another environment can
    return seen


def _levels_unseen(profilers: list[dict[str, Any]], seen: Seen) -> None:
    """Why no profiler of a level can look here, and which profilers cannot be loaded at all."""
    whys: dict[str, list[str]] = {}
    for one in profilers:
        if not one["level"]:
            seen.unavailable[f"profiler {one['name']}"] = one["unavailable"]
        else:
            why = f"{one['name']}: {one['unavailable']}" if one["unavailable"] else ""
            whys.setdefault(one["level"], []).append(why)
    for level, reasons in whys.items():
        if all(reasons):
            seen.unavailable[level] = "; ".join(reasons)


def _why(unusable: dict[str, Any], named: str) -> str:
    """Why a framework cannot be loaded; nothing where its library is simply not installed."""
    expected = unusable["name"] in read_pairs(named, "plugin")
    return unusable["text"] if expected or not unusable["missing"] else ""


def _worth_saying(refusals: dict[str, dict[str, str]], seen: Seen) -> dict[str, str]:
    loaded = {framework.name for framework in seen.frameworks}
    said = {}
    for name, by_environment in refusals.items():
        whys = [f"{where}: {why}" for where, why in by_environment.items() if why]
        if whys and name not in loaded:
            said[name] = "; ".join(whys)
    return said
