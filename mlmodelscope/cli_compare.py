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
            return await baselines.judge(client, evaluations[0], baseline, wanted, output)
        shown = comparing.Shown(output, layers, timeline)
        return await comparing.compare_stored(client, evaluations, wanted, shown)

    return run(command, where)
