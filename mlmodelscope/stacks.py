"""The command `image diff`: the stacks of evaluations and of images, side by side."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec
from rich.markup import escape

from analysis.stacks import StackRow, difference
from analysis.summary import summarize
from bus.errors import InputError, NotStoredError
from bus.messages import Stack
from mlmodelscope.client import Client
from mlmodelscope.tables import Column, console, print_csv, print_json, table

_ID = re.compile(r"[0-9a-f]{4,32}|last")
SHORT = 19
"""Of a digest, enough to know it by: `sha256:` and twelve digits."""


@dataclass(frozen=True)
class Pair:
    """What is compared. node: who looks into images."""

    a: str
    b: str
    node: str = ""


async def diff(client: Client, pair: Pair, output: str) -> int:
    """Print what differs between two stacks."""
    async with client:
        with console(stderr=True).status("looking into both"):
            a, b = [await _stack(client, name, pair.node) for name in (pair.a, pair.b)]
    rows = difference(a, b)
    if output == "json":
        print_json(
            {
                "a": {"name": pair.a, "stack": msgspec.to_builtins(a)},
                "b": {"name": pair.b, "stack": msgspec.to_builtins(b)},
                "differences": [msgspec.to_builtins(row) for row in rows],
            }
        )
    elif output == "csv":
        print_csv([msgspec.to_builtins(row) for row in rows])
    else:
        _print(pair, rows)
    return 0


async def _stack(client: Client, name: str, node: str) -> Stack:
    """Of an evaluation where the name is one's, else of an image."""
    if _ID.fullmatch(name):
        try:
            _, facts, _ = await client.stored(name)
        except NotStoredError:
            if name == "last":
                raise
        else:
            stack = summarize(facts).stack
            if stack is None:
                raise InputError(
                    f"evaluation {name} has no record of what it ran in: it was imported, failed "
                    "before anything ran, or is older than such records"
                )
            return stack
    return (await client.image(name, node=node)).stack


def _print(pair: Pair, rows: list[StackRow]) -> None:
    out = console()
    if not rows:
        out.print(f"{escape(pair.a)} and {escape(pair.b)} are the same software")
        return
    columns = [
        Column("what", "kind"),
        Column("name", "name", _short),
        Column(pair.a, "a", _short),
        Column(pair.b, "b", _short),
    ]
    shown = [msgspec.to_builtins(row) for row in rows]
    title = f"{len(rows)} differences" if len(rows) > 1 else "1 difference"
    out.print(table(shown, columns, title))


def _short(text: str) -> str:
    return text[:SHORT] if text.startswith("sha256:") else text or "–"
