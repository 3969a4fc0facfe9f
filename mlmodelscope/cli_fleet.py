"""The commands about many nodes: which there are, what waits and is held, and grids over them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bus.errors import InputError
from mlmodelscope.asked import listed
from mlmodelscope.on_nodes import PREFERENCES
from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client
    from mlmodelscope.grids import Grid

Output = Literal["table", "json", "csv"]


def nodes(
    *,
    fits: str | None = None,
    model: str = "",
    prefer: str = "",
    output: Output = "table",
    where: Where = DEFAULT,
) -> int:
    """List the nodes that are alive, what they can do and what they cannot measure.

    For example:

        mlmodelscope nodes

        mlmodelscope nodes --bus nats://10.0.0.5:4222 --output json

        mlmodelscope nodes --fits 'gpu.memory>=16GiB, framework=onnxruntime@^1'

        mlmodelscope nodes --fits 'avx512, label.site=basel' --model MNIST-CNN

    Parameters
    ----------
    fits
        Which nodes meet these constraints, the first choice first, and what every other one lacks,
        near misses first. Leaves with 3 where none fits. docs/fleet.md lists the constraints.
    model
        With --fits: and would run this model.
    prefer
        With --fits: cheapest, fastest or least_loaded first.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import listing, queueing

        if fits is None and not model:
            return await listing.nodes(client, output)
        if prefer and prefer not in PREFERENCES:
            raise InputError(f"--prefer {prefer!r}: expected {', '.join(PREFERENCES)}")
        return await queueing.fitting(client, (fits or "", model, prefer), output)

    return run(command, where)


def queue(
    evaluation: str = "",
    *,
    mine: bool = False,
    output: Output = "table",
    where: Where = DEFAULT,
) -> int:
    """List what runs and what waits, node by node, in the order in which it will run.

    For example:

        mlmodelscope queue

        mlmodelscope queue --mine --output json

        mlmodelscope queue 4bf92f3577b34da6a3ce929d0e0e4736

    Parameters
    ----------
    evaluation
        Only the jobs of this evaluation: its whole id.
    mine
        Only your own.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import queueing

        return await queueing.queue(client, evaluation, mine, output)

    return run(command, where)


def usage(*, output: Output = "table", where: Where = DEFAULT) -> int:
    """Show what your stored evaluations take, how much they may, and which are the largest.

    For example:

        mlmodelscope usage

        mlmodelscope usage --output json
    """

    async def command(client: Client) -> int:
        from mlmodelscope import queueing

        return await queueing.usage(client, output)

    return run(command, where)


def grid(
    file: Path | None = None,
    *,
    models: str = "",
    frameworks: str = "",
    batch_sizes: str = "",
    nodes: str = "",
    precisions: str = "",
    dataset: str = "",
    limit: int | None = None,
    runs: int | None = None,
    requires: Annotated[list[str] | None, Parameter(negative="")] = None,
    name: str = "",
    again: bool = False,
    fail_fast: bool = False,
    output: Output = "table",
    where: Where = DEFAULT,
) -> int:
    """Evaluate a grid: models × frameworks × batch sizes × nodes in parallel, one table at the end.

    What was done stays done: the same grid again goes on from there, and runs only the cells that
    failed or are missing. `--again` runs every cell anew.

    For example:

        mlmodelscope grid examples/grid.yml

        mlmodelscope grid --models MNIST-CNN,EfficientNet-Lite0 --batch-sizes 1,8 --nodes all

        mlmodelscope grid --models MNIST-CNN --frameworks onnxruntime,pytorch --dataset MNIST-5k

    Parameters
    ----------
    file
        A grid's file (YAML, docs/fleet.md); what is given beside it wins over what it says.
    models
        Models, separated by commas: names, `name@range`, or manifests' files.
    frameworks
        Frameworks, separated by commas: `name` or `name@range`. Default: the model's own choice.
    batch_sizes
        Batch sizes, separated by commas.
    nodes
        Nodes by id, separated by commas; any (the default); all: each node that fits; or a number:
        so many of them, the first choice first.
    precisions
        float32, float16, bfloat16, int8: those that the framework can.
    dataset
        Measure accuracy on it too: a name, or a file.
    limit
        The first so many items of the dataset.
    runs
        Measured queries a cell.
    requires
        Constraints on the nodes, as for `evaluate`.
    name
        Another name makes it another grid: nothing of it was done.
    again
        Run every cell, whatever was done before.
    fail_fast
        Begin no further cell once one has failed.
    """
    given = {
        "models": listed(models),
        "frameworks": listed(frameworks),
        "batch_sizes": listed(batch_sizes),
        "nodes": listed(nodes),
        "precisions": listed(precisions),
        "dataset": dataset,
        "limit": limit,
        "runs": runs,
        "requires": requires,
        "name": name,
    }

    async def command(client: Client) -> int:
        from mlmodelscope import grid_run

        return await grid_run.run(client, _grid(file, given, again), output, fail_fast)

    return run(command, where)


def _grid(file: Path | None, given: Mapping[str, object], again: bool) -> Grid:
    """The grid of a file, of the command line, or of both."""
    import uuid

    from mlmodelscope.grids import Grid, merged, read_grid, renamed

    made = merged(read_grid(file) if file is not None else None, given, Grid)
    return renamed(made, f"{made.name} {uuid.uuid4().hex}".strip()) if again else made
