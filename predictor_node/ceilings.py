"""What this machine can do at most: measured when somebody asks, kept beside the node's work."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import msgspec

from bus.errors import MLModelScopeError
from bus.messages import Ceiling, CeilingsMeasured, MeasureCeilings, Message, Refused
from predictor_node.process import Environment

log = logging.getLogger(__name__)

MEASURE_S = 180.0
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS")


Alone = Callable[[], AbstractAsyncContextManager[bool]]
"""Has the machine while its block runs; False: the node stops, and has it not."""


class NotMeasured(MLModelScopeError):
    """The micro-benchmarks gave no numbers."""

    kind = "framework"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The file: of which machine these are."""

    cpu: str
    cores: int
    ceilings: list[Ceiling]


class Ceilings:
    """One node's ceilings. alone: has the machine; told: called with new ones."""

    def __init__(
        self,
        node_id: str,
        environment: Environment,
        alone: Alone,
        path: Path,
        told: Callable[[list[Ceiling]], Awaitable[None]],
    ) -> None:
        self._node_id, self._environment, self._alone = node_id, environment, alone
        self._path, self._told = path, told
        self._cpu, self._cores = "", 0

    def known(self, cpu: str, cores: int) -> list[Ceiling]:
        """What was measured before, if this is still the same processor."""
        self._cpu, self._cores = cpu, cores
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=Kept)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return []
        return kept.ceilings if (kept.cpu, kept.cores) == (cpu, cores) else []

    async def answer(self, request: Message) -> Message:
        """Tell them, measured now if need be."""
        if not isinstance(request, MeasureCeilings):
            text = f"MeasureCeilings is expected here, not {type(request).__name__}"
            return Refused(kind="bad_request", text=text)
        found = [] if request.again else self.known(self._cpu, self._cores)
        if found:
            return CeilingsMeasured(node_id=self._node_id, ceilings=found, measured=False)
        try:
            async with AsyncExitStack() as stack:
                turn = stack.enter_async_context(self._alone())
                if not await asyncio.wait_for(turn, request.timeout_s):
                    return Refused(kind="node_lost", text=f"{self._node_id} is being stopped")
                found = await self._measure()
        except TimeoutError:
            text = f"{self._node_id} was at other work for {request.timeout_s:g} s: ask again later"
            return Refused(kind="busy", text=text)
        except NotMeasured as exc:
            return Refused(kind=exc.kind, text=str(exc))
        self._keep(found)
        await self._told(found)
        return CeilingsMeasured(node_id=self._node_id, ceilings=found)

    async def _measure(self) -> list[Ceiling]:
        found: list[Ceiling] = []
        for threads in sorted({1, max(1, self._cores)}):
            found += await self._with(threads)
        return found

    async def _with(self, threads: int) -> list[Ceiling]:
        """A process of its own: a BLAS reads its number of threads once, when it is loaded."""
        variables = {**self._environment.variables(), **dict.fromkeys(THREADS, str(threads))}
        try:
            process = await asyncio.create_subprocess_exec(
                *self._environment.command("--ceilings", str(threads)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=variables,
            )
        except OSError as exc:
            raise NotMeasured(str(self._environment.not_startable(exc))) from exc
        try:
            out, err = await asyncio.wait_for(process.communicate(), MEASURE_S)
            return msgspec.convert(json.loads(out.splitlines()[-1]), list[Ceiling])
        except TimeoutError as exc:
            text = f"measuring {threads} threads took longer than {MEASURE_S:g} s"
            raise NotMeasured(text) from exc
        except (ValueError, IndexError, msgspec.ValidationError) as exc:
            last = (err.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            raise NotMeasured(
                f"nothing was measured with {threads} thread(s): {last[-300:]}"
            ) from exc
        finally:
            if process.returncode is None:
                process.kill()

    def _keep(self, found: list[Ceiling]) -> None:
        kept = Kept(cpu=self._cpu, cores=self._cores, ceilings=found)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside = self._path.with_suffix(".new")
            beside.write_bytes(msgspec.json.encode(kept))
            beside.replace(self._path)
        except OSError as exc:
            log.warning("ceilings not kept", extra={"path": str(self._path), "error": str(exc)})
