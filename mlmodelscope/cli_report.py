"""The command report: one evaluation, or several compared, as one file for colleagues."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client


def report(
    *evaluations: str,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    batch_size: int = 0,
    across: str = "",
    tolerance: str = "2%",
    force: Annotated[bool, Parameter(negative="")] = False,
    where: Where = DEFAULT,
) -> int:
    """Write the report of an evaluation, or of several compared, as one file.

    The file needs no network and no other file: plots, tables, environment, settings requested and
    effective, manifest, completeness, and the command that measures it again.

    For example:

        mlmodelscope report last

        mlmodelscope report 4bf92f35 -o report.pdf

        mlmodelscope report 4bf92f35 9c01aa7e --across framework -o frameworks.html

        mlmodelscope report 4bf92f35 9c01aa7e 77e0a1b2 -o three.md

    Parameters
    ----------
    evaluations
        An id, the first digits of it (4 or more), or `last`; of several, each is held against the
        first, as `compare` does.
    output
        The file; its ending chooses: .html, .pdf (by the Chromium or Chrome of this machine) or
        .md (without the plots). Default: `report-<id>.html` here.
    batch_size
        Of one evaluation: whose layers are shown; 0: the best one's.
    across
        Of several: what was meant to differ, as `compare` has it.
    tolerance
        A difference must surely be larger than this to be called one.
    force
        Draw a verdict although other things differ too; it is marked.
    """

    async def command(client: Client) -> int:
        from analysis.comparison import Wanted
        from mlmodelscope import comparing, reporting

        wanted = Wanted(tolerance=comparing.read_tolerance(tolerance), across=across, force=force)
        wish = reporting.Wish(output, batch_size, wanted)
        return await reporting.report(client, evaluations, wish)

    return run(command, where)
