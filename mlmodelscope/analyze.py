"""What the command analyze does: fetch, analyze, print or write."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from analysis.answers import Answer
from analysis.fifteen import chosen
from bus.errors import InputError
from mlmodelscope.analyses import analyses_of
from mlmodelscope.answer_words import cells, columns_of, number, reasons
from mlmodelscope.client import Client
from mlmodelscope.tables import Column, console, print_json, print_rows, table


@dataclass(frozen=True)
class Form:
    """How answers leave: table, csv, json, png or html; to: the folder of files."""

    output: str
    to: Path | None = None
    top: int = 30


async def analyze(client: Client, evaluation: str, what: str, batch_size: int, form: Form) -> int:
    """Print or write the answers; those that cannot be given say why, and what would help."""
    wanted = chosen(what)
    with _progress() as progress:
        task = progress.add_task("fetching the evaluation", total=None)
        async with client:
            found = await analyses_of(client, evaluation, batch_size, timeline=wanted != ["A1"])
        progress.update(task, description="analyzing")
        answers = found.answers(what)
        if all(answer.unavailable for answer in answers):
            one = answers[0]
            raise InputError(f"{one.analysis} ({one.name}): {one.unavailable}")
        if form.output in ("png", "html") or (
            form.output == "csv" and (form.to or len(wanted) > 1)
        ):
            folder = form.to or Path(f"analyses-{found.evaluation_id[:8]}")
            folder.mkdir(parents=True, exist_ok=True)
            written = []
            for answer in answers:
                if not answer.unavailable:
                    progress.update(task, description=f"writing {answer.analysis}")
                    written.append(write(answer, folder, form.output))
    if form.output == "table":
        print_tables(answers, form.top)
    elif form.output == "json":
        print_json(as_json(answers) if len(wanted) > 1 else as_json(answers)[0])
    elif form.output == "csv" and not (form.to or len(wanted) > 1):
        sys.stdout.write(as_csv(answers[0]))
    else:
        for path in written:
            console().print(str(path), markup=False)
        for answer in answers:
            if answer.unavailable:
                _say_missing(answer)
    sys.stdout.flush()
    return 0


def write(answer: Answer, folder: Path, form: str) -> Path:
    """One file, named for its analysis."""
    stem = answer.analysis if answer.analysis == answer.name else f"{answer.analysis}-{answer.name}"
    path = folder / f"{stem}.{form}"
    if form == "csv":
        path.write_text(as_csv(answer))
        return path
    from mlmodelscope import pictures

    (pictures.write_html if form == "html" else pictures.write_png)(answer, path)
    return path


def as_json(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Everything; a field that is null has its reason in `na`."""
    made: list[dict[str, Any]] = msgspec.to_builtins(list(answers))
    return made


def as_csv(answer: Answer) -> str:
    """A header and every row; a cell without a value says `n/a: why`."""
    rows = answer.table()
    out = StringIO()
    fields = [name for name in rows[0] if name != "na"] if rows else []
    writer = csv.DictWriter(out, fields, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(row, name) for name in fields})
    return out.getvalue()


def _cell(row: dict[str, Any], name: str) -> Any:
    value = row[name]
    if value is None:
        return f"n/a: {row['na'].get(name, 'not known')}"
    return "x".join(map(str, value)) if isinstance(value, list) else value


# ---------------------------------------------------------------- for people


def print_tables(answers: Sequence[Answer], top: int) -> None:
    """A table an analysis, with what must be said of it."""
    out = console()
    for answer in answers:
        if answer.unavailable:
            _say_missing(answer)
            continue
        rows = answer.table()
        shown = rows if not top else rows[:top]
        title = f"\n{answer.analysis} · {answer.title}"
        out.print(table([cells(row) for row in shown], columns_of(rows), title))
        if len(shown) < len(rows):
            out.print(f"… {len(rows) - len(shown)} more rows: --top 0 shows all")
        for note in [*answer.notes, *reasons(rows)]:
            out.print(f"[dim]{escape(note)}[/]")


def _say_missing(answer: Answer) -> None:
    words = f"{answer.analysis} · {answer.title}: n/a: {answer.unavailable}"
    console().print(f"\n{escape(words)}")


# ---------------------------------------------------------------- what a machine can do

CEILINGS = [
    Column("ceiling", "kind"),
    Column("type", "dtype"),
    Column("threads", right=True),
    Column("at most", "value", number, right=True),
    Column("unit"),
    Column("measured by", "how"),
]


async def ceilings(client: Client, node: str, again: bool, output: str) -> int:
    """Have a node measure its machine, and print what came of it."""
    with _progress() as progress:
        progress.add_task("the node measures its machine: about half a minute", total=None)
        async with client:
            told = await client.ceilings(node, again=again)
    rows = [msgspec.to_builtins(ceiling) for ceiling in told.ceilings]
    print_rows(output, rows, CEILINGS)
    if output == "table":
        days = (
            time.strftime("%Y-%m-%d %H:%M", time.localtime(rows[0]["at_ns"] / 1e9)) if rows else ""
        )
        how = "measured now" if told.measured else f"measured on {days}; --again measures anew"
        console().print(f"node {told.node_id}: {how}", markup=False)
    return 0


@contextmanager
def _progress() -> Iterator[Progress]:
    shown = console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    disable = not shown.is_terminal
    with Progress(*columns, console=shown, transient=True, disable=disable) as progress:
        yield progress
