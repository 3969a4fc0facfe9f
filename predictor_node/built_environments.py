"""Virtual environments that a node makes on demand, with pip, of what a job asks for.

environments/<key>      in the asset cache: the key is made of what was asked for and of this
                        Python; it goes when the cache is full and nobody uses it
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import re
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path

from bus.errors import MLModelScopeError
from predictor_node.assets import AssetsInUse
from predictor_node.downloads import Told
from predictor_node.process import NEEDED, Environment

PACKAGES: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime",),
    "pytorch": ("torch", "safetensors"),
    "tensorflow": (
        "tensorflow-cpu" if platform.machine() in ("x86_64", "AMD64") else "tensorflow",
    ),
    "mxnet": ("mxnet", "numpy==1.23.5"),
}
"""Framework -> the packages that bring it: the version that is wanted is the first one's."""
_WISH = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(?P<version>[<>=!~][\w.,<>=!~*+]*)?", re.ASCII)
TELLING = ("Collecting", "Downloading", "Installing")


class NotBuilt(MLModelScopeError):
    """An environment could not be made."""

    kind = "environment"


@dataclass
class Builder:
    """Makes environments, each once; own: the node's, whose plugins are offered to them, too."""

    own: Environment
    _made: dict[str, Environment] = field(default_factory=dict)

    @property
    def frameworks(self) -> list[str]:
        """Those that it knows how to install."""
        return [name for name in PACKAGES if name in self.own.offered_plugins]

    async def environment(self, wishes: str, assets: AssetsInUse, told: Told) -> Environment:
        """The environment of `onnxruntime>=1.20.0,<1.21.0 …`: a framework, then packages.

        `told` hears how far it is. Raises NotBuilt with pip's own words.
        """
        requirements = read_wishes(wishes)
        key = hashlib.sha256(repr((requirements, sys.version)).encode()).hexdigest()[:32]

        async def make(folder: Path) -> None:
            told(f"building an environment of {' '.join(requirements)}", 0, 0)
            await asyncio.to_thread(venv.create, folder, symlinks=True, with_pip=False)
            await _install(folder / "bin" / "python", requirements, told)

        folder, is_new = await assets.made("environments", key, make)
        known = self._made.get(key)
        if known is None or is_new:
            known = Environment(
                name=f"pip:{wishes}",
                python=str(folder / "bin" / "python"),
                allow_code=self.own.allow_code,
                plugins=dict(self.own.offered_plugins),
                profilers=dict(self.own.offered_profilers),
            )
            await known.describe()
            self._made[key] = known
        return known


def read_wishes(wishes: str) -> tuple[str, ...]:
    """What pip is to install; NotBuilt for what is no list of packages and versions."""
    found: list[str] = []
    for number, word in enumerate(wishes.split()):
        match = _WISH.fullmatch(word)
        if match is None:
            raise NotBuilt(f"{word!r} is no package with versions, such as onnxruntime>=1.20,<1.21")
        name, version = match["name"], match["version"] or ""
        if number:
            found.append(name + version)
            continue
        if (packages := PACKAGES.get(name)) is None:
            text = f"how {name} is installed is not known, only: {', '.join(PACKAGES)}"
            raise NotBuilt(f"{text}: give the node an environment that has it (--environment)")
        found += [packages[0] + version, *packages[1:]]
    if not found:
        raise NotBuilt("no framework is named: expected one such as onnxruntime>=1.20,<1.21")
    names = {re.split(r"[<>=!~]", one)[0] for one in found}
    return (*found, *(name for name in NEEDED if name not in names))


async def _install(python: Path, requirements: tuple[str, ...], told: Told) -> None:
    """Wheels only: nothing of a package runs while it is installed."""
    command = [sys.executable, "-m", "pip", f"--python={python}", "install", "--no-input"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--progress-bar=off"]
    process = await asyncio.create_subprocess_exec(
        *command,
        *requirements,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PIP_REQUIRE_VIRTUALENV": "0"},
    )
    assert process.stdout is not None
    said: list[str] = []
    try:
        while line := (await process.stdout.readline()).decode(errors="replace").strip():
            said = [*said, line][-50:]
            if line.startswith(TELLING):
                told(f"building an environment: {line[:120]}", 0, 0)
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code:
        errors = [line for line in said if line.startswith("ERROR")] or said or ["it said nothing"]
        raise NotBuilt(
            f"pip cannot install {' '.join(requirements)} for Python {platform.python_version()}: "
            f"{errors[-1].removeprefix('ERROR: ')[:300]}"
        )
