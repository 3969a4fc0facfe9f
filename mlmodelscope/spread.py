"""One evaluation on several nodes: a job each, and what came of each side by side."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from analysis.summary import summarize
from bus.errors import EvaluationError, InputError
from bus.messages import EvaluationFailed, EvaluationFinished, Fact, JobFailed, Message, Queue
from mlmodelscope import mlperf_logs
from mlmodelscope.client import Client
from mlmodelscope.evaluating import asking, progress_bar, queued, watched
from mlmodelscope.evaluation import Evaluation
from mlmodelscope.exits import FAILED, OK
from mlmodelscope.many import Cell, Kind, Wish, show


async def evaluate(
    client: Client, wish: Wish, kind: Kind, output: str, logs: Path | None = None
) -> int:
    """Have it evaluated on every node that is asked for; FAILED where one of them failed.

    logs: a folder for MLPerf's log files, in a folder of each node's own.
    """
    if logs is not None:
        mlperf_logs.check(logs, wish)
    with progress_bar() as progress:
        task = progress.add_task(asking(wish.on), total=None)

        async def watch() -> None:
            placed = evaluation.accepted.jobs if evaluation.accepted else []
            progress.update(task, description=f"on {len(placed)} nodes", total=len(placed))
            async for fact in evaluation:
                if isinstance(fact, Queue):
                    progress.update(task, description=queued(fact))
                elif type(fact).__name__ in ("JobFinished", "JobFailed"):
                    progress.advance(task)

        async with client:
            evaluation = await kind.submit(client, wish)
            try:
                await watched(client, evaluation, watch())
            except EvaluationError:
                pass  # some of its jobs failed: each says so below
            progress.remove_task(task)
    cells = _cells(wish, evaluation)
    show(cells, kind, output)
    if logs is not None:
        written = _write_logs(logs, [cell for cell in cells if not cell.problem])
        print(f"MLPerf's log files: {', '.join(map(str, written)) or 'none'}", file=sys.stderr)
    return FAILED if any(cell.problem for cell in cells) else OK


def _cells(wish: Wish, evaluation: Evaluation) -> list[Cell]:
    """One cell a job, in the order in which the nodes were chosen."""
    facts = evaluation.facts
    by_job: dict[str, list[Message]] = defaultdict(list)
    for fact in facts:
        if isinstance(fact, Fact):
            by_job[fact.job_id].append(fact)
    placed = evaluation.accepted.jobs if evaluation.accepted else []
    outcomes = {job.job_id: job for fact in facts if isinstance(fact, ENDS) for job in fact.jobs}
    cells = []
    for job in placed:
        outcome, own = outcomes.get(job.job_id), by_job[job.job_id]
        problem = _problem(own)
        if outcome is not None and outcome.state != "finished":
            problem = problem or outcome.text or outcome.state
        node = outcome.node_id if outcome else job.node_id
        cells.append(Cell(replace(wish, node=node), problem=problem, result=summarize(own)))
        cells[-1].facts = own
    return cells


def _write_logs(folder: Path, cells: Sequence[Cell]) -> list[Path]:
    """The log files of each job, in a folder named after its node."""
    written: list[Path] = []
    for cell in cells:
        assert cell.result is not None
        own = folder / cell.result.node_id
        if own in written:  # a job that was placed again, where another one ran
            own = folder / f"{own.name}-{len(written) + 1}"
        try:
            own.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise InputError(f"--mlperf-logs {own}: {exc.strerror}; expected a folder") from exc
        mlperf_logs.write(own, cell.result, cell.facts)
        written.append(own)
    return written


ENDS = (EvaluationFinished, EvaluationFailed)


def _problem(facts: Sequence[Message]) -> str:
    return next((fact.text for fact in facts if isinstance(fact, JobFailed)), "")
