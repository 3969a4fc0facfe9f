"""A page as one Markdown file: everything but its plots, of which it says what they show."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlmodelscope.page import Cards, Code, Page, Part, Plot, Rows, Words
from mlmodelscope.tables import Column


def as_markdown(page: Page) -> str:
    """The whole file."""
    lines = [f"# {_safe(page.title)}", "", _safe(page.about), ""]
    for section in page.sections:
        lines += [f"## {_safe(section.title)}", ""]
        for part in section.parts:
            lines += [*_part(part), ""]
    return "\n".join(lines)


def _part(part: Part) -> Iterator[str]:
    match part:
        case Words(text, kind):
            words = _safe(text)
            yield {"warning": f"> **{words}**", "lead": f"**{words}**"}.get(kind, words)
        case Cards(figures):
            columns = [Column("figure"), Column("value", right=True), Column("about")]
            names = ("figure", "value", "about")
            yield from _table(
                Rows([dict(zip(names, one, strict=True)) for one in figures], columns)
            )
        case Code(text):
            yield from ("```", text.rstrip("\n"), "```")
        case Plot(_, words):
            yield f"*(In the HTML and PDF a plot: {_safe(words)}.)*"
        case Rows():
            yield from _table(part)


def _table(part: Rows) -> Iterator[str]:
    if part.title:
        yield from (f"### {_safe(part.title)}", "")
    columns = part.shown()
    yield _line([_safe(column.heading) for column in columns])
    yield _line(["---:" if column.right else "---" for column in columns])
    for cells, marked in part.cells():
        safe = [_safe(cell) for cell in cells]
        yield _line([f"**{cell}**" if marked and cell else cell for cell in safe])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _safe(text: str) -> str:
    """Text in which nothing is markup, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))
