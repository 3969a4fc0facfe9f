"""The command timeline, and the file that evaluate writes: a timeline in one of many formats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.progress import FileSizeColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from analysis import formats
from analysis.formats import Format
from analysis.recording import Recording, recording_of
from bus.errors import InputError
from mlmodelscope import report
from mlmodelscope.client import Client
from mlmodelscope.tables import console

DEFAULT = formats.BY_NAME["chrome"]

READABLE = ("perfetto", "chrome")
"""What the Perfetto UI opens."""


@dataclass(frozen=True)
class Target:
    """Where a timeline is to be written; no path: a name made of its id, in `folder`."""

    format: Format
    path: Path | None = None
    folder: Path = Path()

    @property
    def passing(self) -> bool:
        """Whether the file is for looking at only, in a folder that will be gone."""
        return self.path is None and self.folder != Path()

    def of(self, evaluation_id: str) -> Path:
        """The file for an evaluation."""
        packed = ".gz" if self.format is DEFAULT else ""
        name = f"timeline-{evaluation_id[:8]}{self.format.ending}{packed}"
        return self.path or self.folder / name


def target(path: Path | None, format: str = "", folder: Path = Path()) -> Target:
    """What can be written, checked before anything is measured or fetched for it."""
    chosen = formats.choose(path or Path(f"timeline{DEFAULT.ending}"), format)
    if path is not None and not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    return Target(chosen, path, folder)


def target_to_look_at(path: Path | None, format: str, folder: Path) -> Target:
    """A file that the Perfetto UI opens; its own format, which shows most, where it can be had."""
    if path is None and not format and formats.BY_NAME["perfetto"].installed:
        format = "perfetto"
    wanted = target(path, format, folder)
    if wanted.format.name not in READABLE:
        raise InputError(
            f"--open shows {' and '.join(READABLE)}, not {wanted.format.name}: "
            "leave out --format and -o, or choose one of these"
        )
    return wanted


async def write_stored(client: Client, evaluation: str, wanted: Target) -> Path:
    """Write a stored evaluation's timeline; say what was written, and return where it lies."""
    with _progress() as progress:
        task = progress.add_task("fetching the timeline", total=None)
        async with client:
            evaluation_id, facts, metrics = await client.stored(evaluation)
            timeline = await client.timeline(evaluation_id)
        path = wanted.of(evaluation_id)
        progress.update(task, description=f"writing {path.name}")
        recording = recording_of(timeline, facts, metrics)
        for given in formats.write(recording, path, wanted.format):
            progress.update(task, completed=given)
    report.print_written(path.name if wanted.passing else str(path), path.stat().st_size, timeline)
    return path


def write(recording: Recording, wanted: Target) -> None:
    """Write what has just been measured."""
    path = wanted.of(recording.timeline.evaluation_id)
    with _progress() as progress:
        task = progress.add_task(f"writing {path.name}", total=None)
        for given in formats.write(recording, path, wanted.format):
            progress.update(task, completed=given)


@contextmanager
def _progress() -> Iterator[Progress]:
    """How much has been written, on stderr, where a person looks."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        FileSizeColumn(),
        TimeElapsedColumn(),
    )
    shown = console(stderr=True)
    disable = not shown.is_terminal
    with Progress(*columns, console=shown, transient=True, disable=disable) as progress:
        yield progress
