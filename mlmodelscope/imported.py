"""The command import: what happens, and how a person reads what became of a file's events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.markup import escape

from bus.messages import NodeAnnounced, Recording
from mlmodelscope.tables import Column, console, print_csv, print_json, table

if TYPE_CHECKING:
    from mlmodelscope.client import Client
    from mlmodelscope.importing.storing import Imported

EPOCH_NS = 10**18
EVENTS = [
    Column("events", "count", lambda count: f"{count:,}", right=True),
    Column("category"),
    Column("phase"),
    Column("became", show=lambda text: text or "not kept"),
    Column("because", "reason"),
]


async def import_files(
    client: Client, files: Sequence[Path], said: dict[str, Any], output: str
) -> int:
    """Import one file after another, and print what came of them."""
    from mlmodelscope.evaluating import progress_bar

    rows = []
    async with client:
        for file in files:
            with progress_bar() as progress:
                task = progress.add_task(f"reading {file.name}", total=None)

                def show(what: str, done: int, total: int) -> None:
                    progress.update(task, description=what, completed=done, total=total or None)  # noqa: B023

                done = await client.import_profile(file, **said, progress=show)
            rows.append(_row(done))
            if output == "table":
                _print(done)
    if output == "json":
        print_json(rows)
    elif output == "csv":
        print_csv(rows)
    return 0


def devices(machine: NodeAnnounced) -> str:
    """A recording's accelerators."""
    many = [f"{d.count} × {d.name}" if d.count > 1 else d.name for d in machine.devices]
    return ", ".join(many) or "devices unknown"


def recording_lines(recording: Recording) -> list[str]:
    """Where an imported evaluation comes from, and what of the file is not in it."""
    when = "at a time that the file leaves out"
    if recording.first_ns > EPOCH_NS:
        seconds = recording.first_ns // 10**9
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    kept = {"span": 0, "metric": 0, "metadata": 0, "": 0}
    for event in recording.events:
        kept[event.became] = kept.get(event.became, 0) + event.count
    lines = [
        f"imported from {recording.file} ({recording.format}), recorded {when}",
        f"events of the file: {sum(kept.values()):,}; became spans: {kept['span']:,}, "
        f"metrics: {kept['metric']:,}, metadata: {kept['metadata']:,}; not kept: {kept['']:,}",
    ]
    lines += [
        f"not kept: {event.count:,} {event.category} ({event.phase}): {event.reason}"
        for event in recording.events
        if not event.became
    ]
    return [escape(line) for line in lines + list(recording.notes)]


def _row(done: Imported) -> dict[str, Any]:
    """One file for programs."""
    return {
        "evaluation_id": done.evaluation_id,
        "file": str(done.path),
        "format": done.recording.format,
        "again": done.again,
        "devices": [device.name for device in done.profile.devices],
        "spans": done.profile.levels(),
        "stored": done.timeline.stored,
        "complete": done.timeline.complete,
        "ambiguous": done.timeline.ambiguous,
        "calls": len(done.profile.calls),
        "events": msgspec.to_builtins(done.recording.events),
        "notes": done.recording.notes,
    }


def _print(done: Imported) -> None:
    """One file for a person."""
    from mlmodelscope.report import own_command

    out, short = console(), done.evaluation_id[:8]
    spans = ", ".join(f"{count:,} {level}" for level, count in done.profile.levels().items())
    state = "complete" if done.timeline.complete else f"not complete: {done.timeline.missing}"
    was = "had been imported before" if done.again else "imported"
    out.print(f"[bold]{escape(str(done.path))}[/] {was} as {done.evaluation_id}")
    out.print(table([msgspec.to_builtins(e) for e in done.recording.events], EVENTS))
    out.print(
        escape(
            f"spans: {spans}; timeline {state}, the parents of {done.timeline.ambiguous:,} unclear"
        )
    )
    for note in [*done.recording.notes, *done.profile.unavailable.values()]:
        out.print(escape(note))
    out.print(f"Next: {own_command()} show {short}", soft_wrap=True)
    out.print(f"      {own_command()} timeline {short} -o trace.json\n", soft_wrap=True)
