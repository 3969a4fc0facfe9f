"""Parts of a report (words, tables, code, plots) as the templates of pages want them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mlmodelscope.page import Cards, Code, Part, Plot, Rows, Words


def shown(parts: Iterable[Part], plot: str = "") -> list[dict[str, Any]]:
    """Each part with a word for what it is. plot: the address of the page that draws the plot."""
    return [*_each(parts, plot)]


def _each(parts: Iterable[Part], plot: str) -> Iterator[dict[str, Any]]:
    for part in parts:
        match part:
            case Words(text, kind):
                yield {"is": "words", "text": text, "kind": kind}
            case Code(text, folded):
                yield {"is": "code", "text": text, "folded": folded}
            case Plot(_, words):
                if plot:
                    yield {"is": "plot", "address": plot, "words": words}
            case Rows():
                yield table(part)
            case Cards(figures):
                yield {"is": "cards", "figures": figures}


def table(rows: Rows) -> dict[str, Any]:
    """A table: its headings with whether they are of numbers, its rows with whether they stand
    out."""
    columns = rows.shown()
    return {
        "is": "rows",
        "title": rows.title,
        "headings": [(column.heading, column.right) for column in columns],
        "rows": [*rows.cells()],
    }
