"""The command timeline: an evaluation's timeline as a file, or in a browser."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mlmodelscope.exits import OK, guarded
from mlmodelscope.where import DEFAULT, Where, run

if TYPE_CHECKING:
    from mlmodelscope.client import Client


def timeline(
    evaluation: str,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    format: str = "",
    open: Annotated[bool, Parameter(negative="")] = False,
    browser: Annotated[bool, Parameter(show_default=False)] = True,
    where: Where = DEFAULT,
) -> int:
    """Write an evaluation's timeline as a file, or look at it (`--open`).

    The ending chooses the format: `.json` (Chrome trace), `.pftrace` (Perfetto), `.otlp.json` and
    `.otlp.pb` (OpenTelemetry; the samples: `.metrics.otlp.json`), `.csv`, `.parquet`, `.folded`
    (flame graphs); with `.gz` behind it, compressed. https://ui.perfetto.dev opens the first two.

    For example:

        mlmodelscope timeline last --open

        mlmodelscope timeline last -o trace.pftrace

        mlmodelscope timeline 4bf92f35 -o spans.parquet

        mlmodelscope timeline 4bf92f35 -o stacks.txt --format folded

    Parameters
    ----------
    evaluation
        Its id, the first digits of it (4 or more), or `last`.
    output
        The file. Default: `timeline-<id>.json.gz` here.
    format
        chrome, perfetto, otlp-json, otlp, csv, parquet or folded, whatever the file's name.
    open
        Show it in the Perfetto UI, served on this machine until Ctrl-C; needs no network.
    browser
        With --open: whether to start a browser, too; the address is printed either way.
    """
    if open:
        return _look(evaluation, output, format, browser, where)

    async def command(client: Client) -> int:
        from mlmodelscope import timeline_file

        wanted = timeline_file.target(output, format)
        await timeline_file.write_stored(client, evaluation, wanted)
        return OK

    return run(command, where)


def _look(evaluation: str, output: Path | None, format: str, browser: bool, where: Where) -> int:
    """Fetch it, leave the system, and serve it for as long as somebody looks."""
    written: list[Path] = []
    with TemporaryDirectory(prefix="mlmodelscope-") as folder:

        async def command(client: Client) -> int:
            from mlmodelscope import perfetto_view, timeline_file

            perfetto_view.ui_folder()
            wanted = timeline_file.target_to_look_at(output, format, Path(folder))
            written.append(await timeline_file.write_stored(client, evaluation, wanted))
            return OK

        code = run(command, where)
        if code != OK:
            return code
        from mlmodelscope import perfetto_view

        return guarded(lambda: perfetto_view.show(written[0], browser))
