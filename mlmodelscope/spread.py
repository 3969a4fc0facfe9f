"""One evaluation on several nodes: a job each, and what came of each side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from analysis.summary import summarize
from bus.errors import EvaluationError
from bus.messages import EvaluationFailed, EvaluationFinished, Fact, JobFailed, Message, Queue
from mlmodelscope.client import Client
from mlmodelscope.evaluating import asking, progress_bar, queued, watched
from mlmodelscope.evaluation import Evaluation
from mlmodelscope.exits import FAILED, OK
from mlmodelscope.many import Cell, Kind, Wish, show


async def evaluate(client: Client, wish: Wish, kind: Kind, output: str) -> int:
    """Have it evaluated on every node that is asked for; FAILED where one of them failed."""
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


ENDS = (EvaluationFinished, EvaluationFailed)


def _problem(facts: Sequence[Message]) -> str:
    return next((fact.text for fact in facts if isinstance(fact, JobFailed)), "")
