"""From what a page or a program asked for to an evaluation that runs."""

from __future__ import annotations

from pathlib import Path

from mlmodelscope.evaluation import Evaluation
from web.bodies import InputGiven, NewEvaluation
from web.problems import ProblemError
from web.state import State


async def begin(state: State, asked: NewEvaluation) -> Evaluation:
    """Have it run; a file of this machine is never meant by any name in it."""
    if not asked.model and asked.manifest is None:
        raise ProblemError(422, "body", "`model` or `manifest` is missing")
    evaluation = await state.client.evaluate(
        asked.manifest or asked.model,
        inputs=[_named(state, one) for one in asked.inputs],
        framework=asked.framework,
        device=asked.device,
        node=asked.node,
        environment=asked.environment,
        settings=asked.settings,
        batch_sizes=asked.batch_sizes,
        runs=asked.runs,
        warmup=asked.warmup,
        trace=asked.trace,
        leveled=asked.leveled,
        seed=asked.seed,
        threads=asked.threads,
        timeout_s=asked.timeout_s,
        top_k=asked.top_k,
        dataset=asked.dataset,
        limit=asked.limit,
        requires=asked.requires,
        prefer=asked.prefer,
        scenario=asked.scenario,
    )
    state.begun(evaluation)
    return evaluation


def _named(state: State, one: InputGiven) -> str | Path:
    if one.upload and not one.url:
        return state.uploads.named(one.upload)
    if one.url and not one.upload:
        return one.url
    raise ProblemError(422, "body", "each input has `upload` or `url`, one of the two")
