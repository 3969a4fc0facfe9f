"""The commands about accuracy: measure it, list datasets and predictions, compare two runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bus.errors import InputError
from mlmodelscope.asked import read_settings
from mlmodelscope.on_nodes import ANYWHERE, Nodes
from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client

Output = Literal["table", "json", "csv"]


def accuracy(
    model: str = "",
    *,
    dataset: str,
    models: str = "",
    all: bool = False,
    limit: int = 0,
    batch_size: int = 32,
    warmup: int = 2,
    framework: str = "",
    device: str = "cpu",
    node: str = "",
    environment: str = "",
    container: Annotated[bool, Parameter(negative="")] = False,
    threads: int = 0,
    precision: str = "",
    setting: list[str] | None = None,
    top: int = 5,
    full_outputs: bool = False,
    pipelined: bool = False,
    wrong: bool = False,
    no_publish: Path | None = None,
    timeout: float = 3600.0,
    output: Output = "table",
    on: Nodes = ANYWHERE,
    where: Where = DEFAULT,
) -> int:
    """Measure how right a model is on a dataset, and how fast in the same pass.

    For example:

        mlmodelscope accuracy MNIST-CNN --dataset MNIST-5k

        mlmodelscope accuracy MNIST-CNN --dataset MNIST-5k --framework pytorch --limit 100 --wrong

        mlmodelscope accuracy EfficientNet-Lite0 --dataset ./my-dataset.yml --output json

        mlmodelscope accuracy MNIST-CNN --dataset MNIST-5k --no-publish results/

        mlmodelscope accuracy MNIST-CNN --dataset MNIST-5k --limit 200 --all

    Parameters
    ----------
    model
        A model's name, `name@range`, or the path of a manifest (.yml).
    dataset
        A dataset's name, `name@range`, the path of its manifest (.yml), or a folder with a
        sub-folder of images for each class.
    models
        Several models, separated by commas, or `all`: run in parallel, shown side by side.
    all
        Run on every node, framework and environment that fits, in parallel, side by side.
    limit
        Run the first so many items of the dataset; 0: all. Shares are of what ran.
    batch_size
        Items a predict call.
    warmup
        Calls before the measured ones, not counted.
    framework
        `name` or `name@range` of the framework to run it on.
    device
        cpu, gpu or other.
    node
        Run on this node and no other.
    environment
        Run in this one of a node's environments.
    container
        Run in the container that the manifest names, also where a node has the framework itself.
    threads
        Threads of the framework within one operator; 0 leaves it to the framework.
    precision
        float32, float16, bfloat16 or int8, where the framework can; several, separated by commas,
        are run each and shown side by side.
    setting
        NAME=VALUE: a setting of the framework; may be given several times.
    top
        How many classes to store per item; 5 are needed for top-5.
    full_outputs
        Store every class's probability for every item.
    pipelined
        Read and prepare the next batches while one is predicted.
    wrong
        Show every wrong item, not the first 10.
    no_publish
        A folder for the results, the environment and the trace; nothing stays in the store.
    timeout
        Seconds after which the job is stopped.
    output
        table for people, json or csv for programs.
    """

    async def command(client: Client) -> int:
        from bus.messages import Scenario
        from mlmodelscope import accuracy as work
        from mlmodelscope import many, spread

        asked = work.Pass(
            model=model,
            dataset=dataset,
            limit=limit,
            batch_sizes=(batch_size,),
            warmup=warmup,
            framework=framework,
            device=device,
            node=node,
            environment=environment,
            container=container,
            threads=threads,
            top_k=top,
            full_outputs=full_outputs,
            timeout_s=timeout,
            settings=read_settings(setting),
            on=on.asked(),
            scenario=Scenario(name="dataset", pipelined=True) if pipelined else None,
        )
        shown = work.Shown(output=output, wrong=wrong, keep_in=no_publish)
        grid = many.grid(asked, many.chosen(model, models), all, precision)
        kind = many.Kind(work.submit, work.SIDE_BY_SIDE, work.figures_of)
        if grid.one and asked.on.spread != 1 and no_publish is None:
            return await spread.evaluate(client, grid.wish, kind, output)
        if grid.one:
            return await work.measure(client, asked, shown)
        if no_publish is not None:
            raise InputError("--no-publish: one model in one place is expected")
        return await many.evaluate(client, grid, kind, output)

    return run(command, where)


def datasets(dataset: str = "", *, output: Output = "table", where: Where = DEFAULT) -> int:
    """List the datasets that a model can be measured on.

    For example:

        mlmodelscope datasets

        mlmodelscope datasets MNIST-5k --output json

    Parameters
    ----------
    dataset
        Only this name, or `name@range`.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import listing

        return await listing.datasets(client, dataset, output)

    return run(command, where)


def predictions(
    evaluation: str,
    *,
    wrong: bool = False,
    of_class: Annotated[str, Parameter(name="--class")] = "",
    output: Output = "table",
    where: Where = DEFAULT,
) -> int:
    """List what a stored evaluation said of each item, beside what is true.

    For example:

        mlmodelscope predictions last --wrong

        mlmodelscope predictions 4bf92f35 --class 7 --output csv

    Parameters
    ----------
    evaluation
        Its id, the first digits of it (4 or more), or `last`.
    wrong
        Only the items that the model gets wrong.
    of_class
        Only the items of this class: its label or its number.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import accuracy as work

        return await work.predictions(
            client, evaluation, wrong=wrong, of_class=of_class, output=output
        )

    return run(command, where)


def disagree(one: str, two: str, *, output: Output = "table", where: Where = DEFAULT) -> int:
    """Compare two evaluations of one dataset: which items does one alone get right?

    For example:

        mlmodelscope disagree 4bf92f35 9c01aa7e

        mlmodelscope disagree 4bf92f35 last --output csv

    Parameters
    ----------
    one
        An evaluation's id, the first digits of it, or `last`.
    two
        The other's.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import accuracy as work

        return await work.disagree(client, one, two, output)

    return run(command, where)
