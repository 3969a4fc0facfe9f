"""The commands about manifests: check one, publish one, withdraw one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlmodelscope.exits import guarded
from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client


def check(file: Path) -> int:
    """Check a manifest: every fault at once, with its line, then the files that it names by a path.

    Needs no system.

    For example:

        mlmodelscope check my-model.yml

    Parameters
    ----------
    file
        The manifest (.yml), of a model or of a dataset.
    """

    def look() -> int:
        from bus.errors import InputError
        from manifests.catalog import not_runnable
        from mlmodelscope.manifest_files import whole

        if _is_dataset(file):
            from manifests.datasets import read_dataset
            from mlmodelscope.dataset_files import missing

            dataset = read_dataset(file)
            if lacking := missing(file, dataset):
                raise InputError("\n".join(lacking))
            print(f"{file}: no faults; the dataset {dataset.name} {dataset.version}")
            return 0
        manifest = whole(file)
        why_not = not_runnable(manifest)
        state = f"cannot be run: {why_not}" if why_not else "can be run"
        framework = f"{manifest.framework.name} {manifest.framework.version}".strip()
        print(f"{file}: no faults; {manifest.name} {manifest.version} for {framework} {state}")
        return 0

    return guarded(look)


def publish(file: Path, *, where: Where = DEFAULT) -> int:
    """Make a manifest known to everyone by its name; the files beside it are sent along.

    The same again is harmless; another content under the same name and version is refused.

    For example:

        mlmodelscope publish my-model.yml

        mlmodelscope publish my-model.yml --bus nats://10.0.0.5:4222

    Parameters
    ----------
    file
        The manifest (.yml), of a model or of a dataset.
    """

    async def command(client: Client) -> int:
        async with client:
            if _is_dataset(file):
                dataset = await client.publish_dataset(file)
                print(f"published: the dataset {dataset.name} {dataset.version}")
                return 0
            manifest = await client.publish(file)
        print(f"published: {manifest.name} {manifest.version} for {manifest.framework.name}")
        return 0

    return run(command, where)


def unpublish(
    model: str, *, framework: str = "", dataset: bool = False, where: Where = DEFAULT
) -> int:
    """Withdraw a published manifest. What was measured with it stays.

    For example:

        mlmodelscope unpublish MyModel@1.0.0

        mlmodelscope unpublish MyModel@1.0.0 --framework onnxruntime

    Parameters
    ----------
    model
        `name@version`.
    framework
        Which one, where several frameworks have that name and version.
    dataset
        It is a dataset's name.
    """

    async def command(client: Client) -> int:
        async with client:
            if dataset:
                await client.unpublish_dataset(model)
            else:
                await client.unpublish(model, framework=framework)
        print(f"withdrawn: {model}")
        return 0

    return run(command, where)


def _is_dataset(file: Path) -> bool:
    from manifests.catalog import text_of
    from manifests.datasets import is_dataset

    return file.exists() and is_dataset(text_of(file, str(file)))
