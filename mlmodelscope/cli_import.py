"""The command about profiles that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client


def import_profiles(
    *files: Path,
    model: str = "",
    call: str = "",
    batch_size: int = 0,
    cuda_runtime: str = "all",
    output: Literal["table", "json", "csv"] = "table",
    where: Where = DEFAULT,
) -> int:
    """Store profiles that were made elsewhere: each becomes an evaluation like any other.

    PyTorch (Kineto, of NVIDIA and AMD), ONNX Runtime, other Chrome traces; `.json` or `.json.gz`.
    The same file again changes nothing.

    For example:

        mlmodelscope import trace.json.gz

        mlmodelscope import trace.json --call 'measure|forward' --batch-size 128 --model AlexNet

    Parameters
    ----------
    files
        One evaluation each.
    model
        What to call the model. Default: the file's name.
    call
        Spans whose name contains this are the calls of the model. Default, of PyTorch: the
        profiler's steps, else the outermost modules; of ONNX Runtime: its runs.
    batch_size
        How many inputs one call took; 0: not known.
    cuda_runtime
        Of PyTorch: which calls of the device's runtime are kept. all; launches: those that launched
        something; or functions' names with commas, which are kept beside these.
    """
    said = {"model": model, "call": call, "batch_size": batch_size, "cuda_runtime": cuda_runtime}

    async def command(client: Client) -> int:
        from bus.errors import InputError
        from mlmodelscope import imported

        if not files:
            raise InputError("no file was named: expected FILE.json or FILE.json.gz")
        if batch_size < 0:
            raise InputError(f"--batch-size {batch_size}: expected 1 or more, or 0 for not known")
        return await imported.import_files(client, files, said, output)

    return run(command, where)
