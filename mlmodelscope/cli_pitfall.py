"""The command pitfall: one change of a specification, and what it does to the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bus.errors import InputError
from mlmodelscope.asked import read_settings
from mlmodelscope.exits import guarded
from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client

Output = Literal["table", "json", "csv"]


def pitfall(
    name: str = "",
    model: str = "",
    *,
    dataset: str = "",
    listed: Annotated[bool, Parameter(name="--list", negative="")] = False,
    limit: int = 0,
    batch_size: int = 32,
    framework: str = "",
    node: str = "",
    environment: str = "",
    threads: int = 0,
    setting: list[str] | None = None,
    timeout: float = 600.0,
    output: Output = "table",
    where: Where = DEFAULT,
) -> int:
    """Make one mistake on purpose and see what it does: to accuracy, to answers, to latency.

    For example:

        mlmodelscope pitfall --list

        mlmodelscope pitfall labels MNIST-CNN --dataset MNIST-5k

        mlmodelscope pitfall color EfficientNet-Lite0 --dataset photos/ --output json

    The baseline runs twice, the altered specification once; the one field that differs is printed.

    Parameters
    ----------
    name
        Which pitfall: see --list.
    model
        A model's name, `name@range`, or the path of a manifest (.yml).
    dataset
        A dataset's name, the path of its manifest (.yml), or a folder of images.
    listed
        List the pitfalls, and what each changes.
    limit
        Run the first so many items of the dataset; 0: all.
    batch_size
        Items a predict call.
    framework
        `name` or `name@range` of the framework to run it on.
    node
        Run on this node and no other.
    environment
        Run in this one of a node's environments.
    threads
        Threads of the framework within one operator; 0 leaves it to the framework.
    setting
        NAME=VALUE: a setting of the framework, of both runs; may be given several times.
    timeout
        Seconds after which a run is stopped.
    output
        table for people, json or csv for programs.
    """
    from mlmodelscope import pitfall_run as work
    from mlmodelscope.pitfalls import names, pitfall_named

    if listed:
        return guarded(lambda: work.show_list(output))

    def chosen() -> int:
        if not (name and model and dataset):
            text = "expected a pitfall, a model and --dataset: pitfall labels MNIST-CNN --dataset D"
            raise InputError(f"{text}; the pitfalls are {', '.join(names())}")
        pitfall_named(name)
        return 0

    if code := guarded(chosen):
        return code

    async def command(client: Client) -> int:
        asked = work.Asked(
            model=model,
            dataset=dataset,
            limit=limit,
            batch_size=batch_size,
            framework=framework,
            node=node,
            environment=environment,
            settings=read_settings(setting),
            threads=threads,
            timeout_s=timeout,
        )
        return await work.run_pitfall(client, pitfall_named(name), asked, output)

    return run(command, where)
