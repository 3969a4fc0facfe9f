"""`mlmodelscope evaluate` from a cold start, as a whole process, against the same done by hand.

Cold means that no server and no service runs; the model's files are in the cache, and the data
folder has been used before.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import children, model_files, services
from benchmarks.effort import Effort
from benchmarks.intervals import bootstrap, difference_of_medians
from benchmarks.model_files import MODEL, ModelFiles
from benchmarks.report import Result, Row
from bus.errors import EvaluationError

SCRIPT = Path(__file__).with_name("bare_once.py")
COMMAND = ("evaluate", MODEL, "--runs=1", "--warmup=0", "--threads=1", "--output=json")
BUDGET_S = 3.0
LOOK_S = 0.005


@dataclass(frozen=True)
class Cold:
    """When, from its start on, a command had its system, its answer, and its end."""

    up_s: float
    answered_s: float
    ended_s: float


async def run(effort: Effort) -> Result:
    """Ours and theirs in turns; the difference of the medians."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        files = await _files(folder)
        ours, theirs = await _in_turns(files, folder / "home", effort)
    ended_s = [one.ended_s for one in ours]
    row = Row(
        what="cold evaluate − by hand",
        ours=median(ended_s),
        theirs=median(theirs),
        unit="s",
        compared=bootstrap(difference_of_medians, ended_s, theirs),
        sign="s",
        at_most=BUDGET_S,
        note=_where_it_goes(ours),
    )
    return Result([row], {"ours_s": [vars(one) for one in ours], "theirs_s": theirs})


async def _files(folder: Path) -> ModelFiles:
    """The peer's files, by way of a bus that has ended before anything is timed."""
    with services.running(()) as system:
        async with services.connected(system) as bus:
            return await model_files.fetch(folder, bus)


async def _in_turns(
    files: ModelFiles, home: Path, effort: Effort
) -> tuple[list[Cold], list[float]]:
    await _evaluate(home)  # makes the data folder, and fetches what is not yet in the cache
    await _by_hand(files)
    ours, theirs = [], []
    for turn in range(effort.cold_pairs):
        ours.append(await _evaluate(home))
        theirs.append(await _by_hand(files))
        print(
            f"cold: pair {turn + 1}, {ours[-1].ended_s:.2f} s and {theirs[-1]:.2f} s",
            file=sys.stderr,
            flush=True,
        )
    return ours, theirs


async def _evaluate(home: Path) -> Cold:
    """The command, and when its parts were done: seen from outside, by what it leaves behind."""
    env = services.environment(MLMS_HOME=str(home))
    begin_s = time.perf_counter()
    async with children.started("-m", "mlmodelscope", *COMMAND, env=env) as process:
        assert process.stdout is not None
        looking = asyncio.create_task(_seen(home / "system.json"))
        answer = await process.stdout.read(1)
        answered_s = time.perf_counter()
        answer += await process.stdout.read()
        code = await process.wait()
        ended_s = time.perf_counter()
    if code or not looking.done():
        looking.cancel()
        text = f"`mlmodelscope {' '.join(COMMAND)}` ended with code {code}; it wrote why to stderr"
        raise EvaluationError("the cold start", "command", text)
    json.loads(answer)  # a whole answer, or no measurement
    return Cold(looking.result() - begin_s, answered_s - begin_s, ended_s - begin_s)


async def _seen(file: Path) -> float:
    """When a file came to be there."""
    while not file.exists():
        await asyncio.sleep(LOOK_S)
    return time.perf_counter()


async def _by_hand(files: ModelFiles) -> float:
    arguments = ("-P", str(SCRIPT), str(files.graph), str(files.photo_file))
    begin_s = time.perf_counter()
    async with children.started(*arguments) as process:
        assert process.stdout is not None
        said = await process.stdout.read()
        code = await process.wait()
        took_s = time.perf_counter() - begin_s
    if code:
        text = f"{SCRIPT.name} ended with code {code}; it wrote why to stderr"
        raise EvaluationError("the cold start", "peer", text)
    json.loads(said)
    return took_s


def _where_it_goes(ours: list[Cold]) -> str:
    """Medians of the parts, one after the other."""
    up_s = median(one.up_s for one in ours)
    answer_s = median(one.answered_s - one.up_s for one in ours)
    leave_s = median(one.ended_s - one.answered_s for one in ours)
    return (
        f"{len(ours)} pairs; servers and services up after {up_s:.2f} s, the answer "
        f"{answer_s:.2f} s later, and {leave_s:.2f} s to end them all; disk caches are warm"
    )
