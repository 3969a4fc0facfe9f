"""The commands that hold evaluations against each other: compare, divergence and ab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bus.errors import InputError
from mlmodelscope.asked import read_settings
from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client

Output = Literal["table", "json", "csv"]


def compare(
    *evaluations: str,
    metric: list[str] | None = None,
    tolerance: str = "2%",
    across: str = "",
    force: Annotated[bool, Parameter(negative="")] = False,
    baseline: str = "",
    by: str = "",
    layers: bool = True,
    timeline: Path | None = None,
    output: Output = "table",
    where: Where = DEFAULT,
) -> int:
    """Hold evaluations against the first: faster, slower or no evidence; more or less right.

    For example:

        mlmodelscope compare 4bf92f35 last

        mlmodelscope compare 4bf92f35 9c01aa7e --across framework --timeline both.pftrace

        mlmodelscope compare 4bf92f35 9c01aa7e 77e0a1b2 --metric latency,throughput --output csv

        mlmodelscope compare last --baseline EfficientNet-Lite0

        mlmodelscope compare last --baseline EfficientNet-Lite0 --by ci-main

    Leaves with 4 where one is surely slower or less often right than the first, and with 5 where
    something differs that was not asked about: then there is no verdict, unless --force.

    Parameters
    ----------
    evaluations
        Two ids or more (their first digits, or `last`): each is held against the first. With
        --baseline one.
    metric
        latency, p99, throughput or accuracy; several, separated by commas. Default: all.
    tolerance
        A difference must surely be larger than this to be called one.
    across
        What was meant to differ: model, framework, system, settings, dataset, scenario,
        conditions, or the name of one setting. Default: whatever is the only one that does.
    force
        Draw a verdict although other things differ too; it is marked.
    baseline
        Hold the one evaluation against the history of its like: those of a model's name, or those
        before an evaluation's id. Changes in that history are found first, and the rate of false
        alarms is measured on it.
    by
        With --baseline: only what this user asked for (MLMS_USER), as the builds of a branch.
    layers
        Also match the layers, where both looked at them.
    timeline
        Write both timelines there as one (.pftrace or .json.gz), B's first predict moved to A's.
    output
        table for people, json or csv for programs.
    """

    async def command(client: Client) -> int:
        from analysis.comparison import Wanted
        from mlmodelscope import comparing

        wanted = Wanted(
            metrics=comparing.read_metrics(metric or []),
            tolerance=comparing.read_tolerance(tolerance),
            across=across,
            force=force,
        )
        if baseline:
            from mlmodelscope import baselines

            if len(evaluations) != 1:
                raise InputError("--baseline: expected one evaluation: compare ID --baseline NAME")
            against = baselines.Against(baseline, by)
            return await baselines.judge(client, evaluations[0], against, wanted, output)
        if by:
            raise InputError("--by: whose history? It goes with --baseline NAME")
        shown = comparing.Shown(output, layers, timeline)
        return await comparing.compare_stored(client, evaluations, wanted, shown)

    return run(command, where)


def divergence(
    one: str,
    two: str,
    *,
    layers: Annotated[bool, Parameter(negative="")] = False,
    threshold: float = 1e-3,
    output: Output = "table",
    where: Where = DEFAULT,
) -> int:
    """Measure how far two evaluations' outputs lie apart, on the same inputs.

    For example:

        mlmodelscope divergence 4bf92f35 9c01aa7e

        mlmodelscope divergence 4bf92f35 last --output csv

        mlmodelscope divergence 4bf92f35 9c01aa7e --layers

    Both must have stored whole outputs: `evaluate` and `accuracy` with --full-outputs; for --layers
    both must have run with `evaluate --setting layer_outputs=1`.

    Parameters
    ----------
    one
        An evaluation's id, the first digits of it, or `last`.
    two
        The other's.
    layers
        Compare what the layers gave for the first input, and name the first that differs.
    threshold
        With --layers: by what part of a layer's largest number it must differ to be named.
    output
        table for people, json or csv for programs.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import diverging

        if layers:
            return await diverging.diverge_inside(client, (one, two), threshold, output)
        return await diverging.diverge(client, one, two, output)

    return run(command, where)


def ab(
    model_a: str,
    model_b: str,
    *,
    dataset: str = "",
    input: list[str] | None = None,
    limit: int = 1000,
    until: Literal["both", "accuracy", "latency"] = "both",
    tolerance: str = "2%",
    error: str = "5%",
    framework_a: str = "",
    framework_b: str = "",
    device: str = "cpu",
    node: str = "",
    environment: str = "",
    threads: int = 0,
    setting: list[str] | None = None,
    output: Output = "table",
    where: Where = DEFAULT,
) -> int:
    """Give one stream of inputs to two models, turn about, until it is clear which is better.

    For example:

        mlmodelscope ab MNIST-CNN MNIST-CNN --framework-a onnxruntime --framework-b pytorch \
--dataset MNIST-5k

        mlmodelscope ab ./before.yml ./after.yml --dataset MNIST-5k --until accuracy

        mlmodelscope ab EfficientNet-Lite0@1.0.0 ./mine.yml --input photos/ --limit 200

    One may look at any time: the p-values hold however often (mixture SPRT). Leaves with 4 where B
    is surely slower or less often right.

    Parameters
    ----------
    model_a
        A model's name, `name@range`, or the path of a manifest (.yml).
    model_b
        The other.
    dataset
        Labelled items for both: accuracy and latency.
    input
        Or files, folders or URLs, again and again: latency, and whether they say the same.
    limit
        The most inputs that both are given.
    until
        Stop when accuracy, latency or both are decided.
    tolerance
        By how much B must be slower or faster to be called so.
    error
        How often a verdict may be wrong at most.
    framework_a
        `name` or `name@range` of A's framework.
    framework_b
        Of B's.
    device
        cpu, gpu or other.
    node
        Run both on this node and no other.
    environment
        Run both in this one of a node's environments.
    threads
        Threads of the framework within one operator; 0 leaves it to the framework.
    setting
        NAME=VALUE: a setting of the framework, for both; may be given several times.
    output
        table for people, json or csv for programs.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import ab as work
        from mlmodelscope.comparing import read_tolerance
        from mlmodelscope.inputs import each_file

        stream = work.Stream(
            dataset=dataset,
            inputs=each_file(input or ()),
            limit=limit,
            until=until,
            tolerance=read_tolerance(tolerance),
            alpha=read_tolerance(error, "--error"),
        )
        place = work.Place(device, node, environment, read_settings(setting), threads)
        sides = (work.Side(model_a, framework_a), work.Side(model_b, framework_b))
        return await work.run_ab(client, sides, stream, place, output)

    return run(command, where)
