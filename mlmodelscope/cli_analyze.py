"""The command analyze: the fifteen analyses of a stored evaluation, in five forms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client


def analyze(
    evaluation: str,
    *,
    what: str = "all",
    batch_size: int = 0,
    output: Literal["table", "csv", "json", "png", "html"] = "table",
    to: Path | None = None,
    top: int = 30,
    where: Where = DEFAULT,
) -> int:
    """Analyze an evaluation: model, layers, kernels, and what limits them.

    For example:

        mlmodelscope analyze last --what A1

        mlmodelscope analyze last --what layer-latency-by-type,A14

        mlmodelscope analyze 4bf92f35 --what all --output html --to analyses/

        mlmodelscope analyze 4bf92f35 --what A8 --output csv > kernels.csv

    Parameters
    ----------
    evaluation
        Its id, the first digits of it (4 or more), or `last`.
    what
        A1 to A15, their names, `theoretical`; several with commas; or `all` (A1 to A15).
    batch_size
        Whose layers and kernels; 0: the best one's.
    output
        table for people, csv or json for programs; png and html are files with the plot.
    to
        The folder for files (of csv with several analyses, png and html): one a analysis, named for
        it. Default: `analyses-<id>` here.
    top
        So many rows of a table; 0: all. Files and json always hold all.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import analyze as doing

        return await doing.analyze(
            client, evaluation, what, batch_size, doing.Form(output, to, top)
        )

    return run(command, where)


def ceilings(
    node: str = "",
    *,
    again: bool = False,
    output: Literal["table", "csv", "json"] = "table",
    where: Where = DEFAULT,
) -> int:
    """Measure what a node's machine can do at most: GFLOP/s and GB/s, for rooflines.

    A matrix product and a triad, with one thread and with all, while the node does nothing else
    (half a minute). The node keeps the numbers and puts them into every record from then on.

    For example:

        mlmodelscope ceilings

        mlmodelscope ceilings node-7 --again --output json

    Parameters
    ----------
    node
        The node's id (see `mlmodelscope nodes`); may be left out where one is alive.
    again
        Measure anew what was measured before.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import analyze as doing

        return await doing.ceilings(client, node, again, output)

    return run(command, where)
