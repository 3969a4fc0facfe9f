"""The command recommend: which model, framework, machine and batch size to use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bus.errors import InputError
from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client


def recommend(
    *,
    task: str,
    dataset: str = "",
    max_latency: str = "",
    min_accuracy: float | None = None,
    min_throughput: float | None = None,
    cost: float | None = None,
    percentile: Literal[50, 90, 99] = 50,
    output: Literal["table", "json", "csv"] = "table",
    where: Where = DEFAULT,
) -> int:
    """Recommend models, frameworks, machines and batch sizes, from what was measured.

    The Pareto front over latency, throughput, accuracy (with --dataset) and cost, the reason for
    each choice and against each other one, and what to measure where too little is known.

    For example:

        mlmodelscope recommend --task image_classification

        mlmodelscope recommend --task image_classification --dataset MNIST-5k \
--max-latency 20ms --min-accuracy 0.7

        mlmodelscope recommend --task image_classification --max-latency 50ms --percentile 99

        mlmodelscope recommend --task image_classification --cost 0.002 --output json

    Leaves with 5 where nothing that was measured can be recommended.

    Parameters
    ----------
    task
        What the models do: image_classification, object_detection … (`mlmodelscope models`).
    dataset
        On which accuracy counts: its name, or NAME@VERSION.
    max_latency
        What a predict may take: 20ms, 0.5s.
    min_accuracy
        The task's first figure (top-1, mAP, mIoU …) as a part of 1; needs --dataset.
    min_throughput
        Inputs a second.
    cost
        What 1,000 inputs may cost, in the currency of the nodes' label `price` (an hour's).
    percentile
        Of the latency: 50, 90 or 99.
    output
        table for people, json or csv for programs.
    """

    async def command(client: Client) -> int:
        from analysis.advice import Limits
        from mlmodelscope import recommending

        _check(dataset, min_accuracy, {"--cost": cost, "--min-throughput": min_throughput})
        limits = Limits(
            max_latency_ns=recommending.read_time_ns(max_latency),
            min_accuracy=min_accuracy,
            max_cost=cost,
            min_throughput=min_throughput,
            accurate=bool(dataset),
        )
        question = recommending.Question(task, dataset, limits, percentile)
        return await recommending.recommend(client, question, output)

    return run(command, where)


def _check(dataset: str, min_accuracy: float | None, others: dict[str, float | None]) -> None:
    if min_accuracy is not None and not dataset:
        raise InputError("--min-accuracy: on which data? Name it: --dataset MNIST-5k")
    for option, value in others.items():
        if value is not None and not value > 0:
            raise InputError(f"{option} {value:g}: expected more than 0")
