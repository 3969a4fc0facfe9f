"""Rows as a person or a program wants to see them: a table, JSON or CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal

import msgspec
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bus.errors import MLModelScopeError, RefusedError
from bus.messages import Misfit, Refused

SHOWN_NODES = 3
LONG_WORDS = range(16, 4, -1)
"""Words of up to so many letters are not broken, if there is room for the first of these."""
GAP = 3
"""Between two columns."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, the row's field (default: the heading), how to show it.

    optional: left out of a table in which it holds nothing.
    """

    heading: str
    field: str = ""
    show: Callable[[Any], str] = str
    right: bool = False
    optional: bool = False

    def of(self, row: dict[str, Any]) -> str:
        """The cell of a row."""
        return self.show(row[self.field or self.heading])


def console(stderr: bool = False) -> Console:
    """Where tables go. Wide enough for a table when it is not a terminal."""
    out = Console(stderr=stderr, highlight=False, soft_wrap=False)
    return out if out.is_terminal else Console(stderr=stderr, highlight=False, width=120)


def print_rows(
    output: str, rows: Sequence[dict[str, Any]], columns: Sequence[Column], empty: str = ""
) -> None:
    """Rows as a table, as a JSON array, or as CSV with every field."""
    if output == "json":
        print_json(rows)
    elif output == "csv":
        print_csv(rows)
    elif rows:
        console().print(table(rows, columns))
    else:
        console().print(empty or "nothing")


def table(
    rows: Sequence[dict[str, Any]], columns: Sequence[Column], title: str = "", mark: str = ""
) -> Table:
    """A rich table; rows whose field `mark` is true stand out."""
    made = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    shown = [column for column in columns if not column.optional or any(map(column.of, rows))]
    cells = [[column.of(row) for column in shown] for row in rows]
    texts = [*zip([column.heading for column in shown], *cells, strict=True)]
    for column, width in zip(shown, _widths(texts, [one.right for one in shown]), strict=True):
        side: Literal["left", "right"] = "right" if column.right else "left"
        made.add_column(column.heading, justify=side, overflow="fold", width=width)
    for row, line in zip(rows, cells, strict=True):
        made.add_row(*map(escape, line), style="bold green" if mark and row.get(mark) else "")
    return made


def _widths(texts: Sequence[Sequence[str]], right: Sequence[bool]) -> list[int | None]:
    """How wide columns of these texts, a heading each and its cells, are to be where they cannot
    be as wide as they want: no word, and no number with its unit on the right, is broken as long as
    there is room, and who lacks most gets the rest."""
    wanted = [max(map(len, column)) for column in texts]
    room = console().width - GAP * len(texts)
    words = []
    for (heading, *cells), is_number in zip(texts, right, strict=True):
        parts = cells if is_number else " ".join(cells).split()
        words.append(max(map(len, [*heading.split(), *parts]), default=1))
    least = next(
        (found for most in LONG_WORDS if sum(found := [min(one, most) for one in words]) <= room),
        None,
    )
    if sum(wanted) <= room or least is None:
        return [None] * len(texts)
    for _ in range(room - sum(least)):
        lacks = [want - has for want, has in zip(wanted, least, strict=True)]
        least[lacks.index(max(lacks))] += 1
    return [*least]


def print_json(value: Any) -> None:
    """Any rows or results as indented JSON."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_csv(rows: Sequence[dict[str, Any]]) -> None:
    """Rows as CSV with a header."""
    sys.stdout.write(as_csv(rows))


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV with a header; lists and maps in a cell as JSON; what a row lacks is empty."""
    out = StringIO()
    if rows:
        fields = dict.fromkeys(key for row in rows for key in row)
        writer = csv.DictWriter(out, list(fields), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _cell(value) for key, value in row.items()})
    return out.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def print_error(exc: MLModelScopeError) -> None:
    """An error on stderr; of a refusal, every node's reasons, near misses first."""
    err = console(stderr=True)
    err.print(f"[bold red]error:[/] {escape(str(exc))}")
    if isinstance(exc, RefusedError) and isinstance(exc.refusal, Refused) and exc.refusal.misfits:
        err.print(misfits_table(exc.refusal.misfits))


def misfits_table(misfits: Sequence[Misfit]) -> Table:
    """Why nodes do not fit: one line a failed constraint, nodes with the same reasons together."""
    rows = []
    for misfit in misfits:
        more = misfit.count - len(misfit.nodes[:SHOWN_NODES])
        names = ", ".join(misfit.nodes[:SHOWN_NODES]) + (f" and {more} more" if more > 0 else "")
        for number, failure in enumerate(misfit.failures):
            rows.append(
                {
                    "node": names if number == 0 else "",
                    "constraint": failure.constraint,
                    "wanted": failure.wanted,
                    "has": failure.has,
                }
            )
    return table(rows, [Column(name) for name in ("node", "constraint", "wanted", "has")])


# ---------------------------------------------------------------- how single values look


def ms(value_ns: float | None) -> str:
    """Nanoseconds as milliseconds with three significant places; – for none."""
    if value_ns is None:
        return "–"
    value = value_ns / 1e6
    return f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:.1f}"


def shortened(text: str, most: int = 60) -> str:
    """The beginning of a long text."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def milliseconds(values_ns: Sequence[float]) -> str:
    """Several durations in milliseconds."""
    return ", ".join(map(ms, values_ns))


def gib(size_bytes: int) -> str:
    """Bytes as GiB."""
    return f"{size_bytes / 2**30:.1f} GiB" if size_bytes else "unknown"


def ago(at_ns: int, now_ns: int) -> str:
    """How long ago."""
    seconds = max(0, (now_ns - at_ns) // 10**9)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
