"""The commands about container images and other stacks of software."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cyclopts import App

from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client

app = App(help="Container images, and what differs between two of them.")


@app.command
def diff(
    a: str,
    b: str,
    *,
    node: str = "",
    output: Literal["table", "json", "csv"] = "table",
    where: Where = DEFAULT,
) -> int:
    """Show what differs between two stacks of software: packages, Python, libraries, variables.

    For example:

        mlmodelscope image diff ort:1.20 ort:1.31

        mlmodelscope image diff 4bf92f35 last --output json

    Parameters
    ----------
    a
        An evaluation (its id, the first 4 or more digits of it, or `last`), or a container image.
    b
        The same; what only one of them has is shown as such.
    node
        The node that looks into images. Default: any that runs containers.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import stacks

        return await stacks.diff(client, stacks.Pair(a, b, node), output)

    return run(command, where)
