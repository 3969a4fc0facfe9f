"""Bare processes of the peer: started once, asked for a block of queries at a time."""

from __future__ import annotations

import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks import children
from benchmarks.effort import Effort
from benchmarks.model_files import ModelFiles
from benchmarks.rounds import Block
from bus.errors import EvaluationError

SCRIPT = Path(__file__).with_name("bare_loop.py")
TORCH = Path(__file__).with_name("bare_loop_torch.py")


class Bare:
    """One such process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def block(self, effort: Effort, *, profile: bool = False) -> Block:
        """Queries measured there now."""
        said = await self._ask(effort, profile)
        return Block(said["starts_ns"], said["durations_ns"])

    async def best(self, effort: Effort) -> int:
        """The class that it sees in the photo."""
        return int((await self._ask(effort, False))["best"])

    async def _ask(self, effort: Effort, profile: bool) -> dict[str, Any]:
        asked = {"queries": effort.queries, "warmup": effort.warmup, "profile": profile}
        children.tell(self._process, json.dumps(asked).encode())
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        """Its next line."""
        if not (line := await children.line(self._process)):
            code = await self._process.wait()
            text = f"a bare process ended with code {code}; it wrote why to stderr"
            raise EvaluationError("the bare loop", "peer", text)
        heard: dict[str, Any] = json.loads(line)
        return heard


@asynccontextmanager
async def started(files: ModelFiles, script: Path = SCRIPT) -> AsyncIterator[Bare]:
    """A bare process with the model open."""
    # -P: what lies beside the script is not for it to import.
    arguments = ("-P", str(script), str(files.graph), str(files.tensor_file))
    async with children.started(*arguments) as process:
        bare = Bare(process)
        await bare.hear()
        yield bare
