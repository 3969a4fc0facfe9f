"""The commands about known models: list them, look at one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client


def models(
    model: str = "",
    *,
    task: str = "",
    framework: str = "",
    max_size: str = "",
    search: str = "",
    weights: Literal["", "trained", "random", "constant"] = "",
    all: bool = False,
    output: Literal["table", "json", "csv"] = "table",
    where: Where = DEFAULT,
) -> int:
    """List the models that can be evaluated.

    For example:

        mlmodelscope models

        mlmodelscope models --task image_classification --framework pytorch --max-size 100MB

        mlmodelscope models --search 'mobile imagenet' --weights trained --output json

    Parameters
    ----------
    model
        Only this name, or `name@range`.
    task
        Only those that do this: image_classification, object_detection …
    framework
        Only those for this framework.
    max_size
        Only those whose weights take no more: 100MB, 1.5GiB. Those of unknown size are left out.
    search
        Only those whose name, description or attributes hold all these words.
    weights
        Only those with trained weights, or with random or constant ones (for timing).
    all
        Hidden ones too.
    """

    async def command(client: Client) -> int:
        from mlmodelscope import model_view
        from mlmodelscope.model_filters import Filters

        filters = Filters(
            task=task, framework=framework, max_size=max_size, search=search, weights=weights
        )
        return await model_view.models(client, model, filters, all, output)

    return run(command, where)


def model(name: str, *, output: Literal["table", "json"] = "table", where: Where = DEFAULT) -> int:
    """Show one model: what it is, its inputs, outputs and files, what is claimed, where it runs.

    For example:

        mlmodelscope model EfficientNet-Lite0

        mlmodelscope model EfficientNet-Lite0@^1 --output json

        mlmodelscope model ./my-model.yml

    Parameters
    ----------
    name
        Its name, `name@range`, or the path of a manifest (.yml).
    """

    async def command(client: Client) -> int:
        from mlmodelscope import model_view

        return await model_view.model(client, name, output)

    return run(command, where)
