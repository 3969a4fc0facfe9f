"""The commands about dead letters: messages that no service could deal with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client

Output = Literal["table", "json", "csv"]

dead = App(
    name="dead",
    help="Messages that no service could deal with: set aside with the reason, never in the way.",
)


@dead.command(name="list")
@dead.default
def list_letters(*, output: Output = "table", where: Where = DEFAULT) -> int:
    """List the messages that were set aside, oldest first, each with the reason.

    For example:

        mlmodelscope dead

        mlmodelscope dead list --output json --bus nats://10.0.0.5:4222
    """

    async def command(client: Client) -> int:
        from mlmodelscope import dead

        return await dead.show_all(client, output)

    return run(command, where)


@dead.command
def show(number: int, *, output: Output = "table", where: Where = DEFAULT) -> int:
    """Show one of them: the reason, and what it holds as far as it can be read.

    For example:

        mlmodelscope dead show 3

    Parameters
    ----------
    number
        Its number in `mlmodelscope dead list`.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import dead

        return await dead.show_one(client, number, output)

    return run(command, where)


@dead.command
def replay(
    *numbers: int,
    all: Annotated[bool, Parameter(negative="")] = False,
    output: Output = "table",
    where: Where = DEFAULT,
) -> int:
    """Send them again where they were said first, once what stood against them is mended.

    A service that still cannot deal with one sets it aside again, as a new letter.

    For example:

        mlmodelscope dead replay 3 4

        mlmodelscope dead replay --all

    Parameters
    ----------
    numbers
        Their numbers in `mlmodelscope dead list`.
    all
        Every one that lies there.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import dead

        return await dead.replay(client, numbers, all, output)

    return run(command, where)
