"""The commands about what was measured before: history, and how one model's times went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client

Output = Literal["table", "json", "csv"]


def history(
    *,
    model: str = "",
    framework: str = "",
    node: str = "",
    by: str = "",
    batch_size: int = 0,
    state: str = "",
    dataset: str = "",
    since: str = "",
    until: str = "",
    limit: int = 20,
    output: Output = "table",
    where: Where = DEFAULT,
) -> int:
    """List past evaluations, newest first.

    For example:

        mlmodelscope history

        mlmodelscope history --model EfficientNet-Lite0 --state finished --limit 5

        mlmodelscope history --model MNIST-CNN --node room-12 --batch-size 8

        mlmodelscope history --framework 'onnxruntime@>=1.20' --since 7d

    Parameters
    ----------
    model
        `name` or `name@range`.
    framework
        `name` or `name@range`.
    by
        Only what this user asked for.
    batch_size
        Only those that measured this batch size.
    state
        running, finished, failed or cancelled.
    dataset
        On this labelled data; `*`: on any.
    since
        None asked for earlier: 30min, 12h, 7d ago, or a date such as 2026-03-31.
    until
        None asked for later.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import listing
        from mlmodelscope.past import Past

        past = Past(model, framework, node, by, state, dataset, since, until, batch_size)
        return await listing.history(client, past, limit, output)

    return run(command, where)


def trends(
    model: str,
    *,
    framework: str = "",
    node: str = "",
    since: str = "",
    output: Output = "table",
    where: Where = DEFAULT,
) -> int:
    """Show how a model's times went over its history, and where they changed for good.

    Of the newest 500 finished evaluations: a series a framework, node, data and batch size.

    For example:

        mlmodelscope trends MNIST-CNN

        mlmodelscope trends MNIST-CNN --node big-1 --since 30d --output json

    Parameters
    ----------
    model
        `name` or `name@range`.
    framework
        `name` or `name@range`.
    since
        None asked for earlier: 30min, 12h, 7d ago, or a date such as 2026-03-31.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import trending
        from mlmodelscope.past import Past

        past = Past(model=model, framework=framework, node=node, since=since, state="finished")
        return await trending.show(client, past, output)

    return run(command, where)
