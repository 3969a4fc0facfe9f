"""A page before it is HTML or Markdown: sections of words, tables, code and plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlmodelscope.tables import Column

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class Words:
    """A paragraph. kind: "" for plain, `note` for what is small, `warning` for what matters."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Cards:
    """The few figures that a reader looks for first: (what, value, about)."""

    figures: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Rows:
    """A table; rows whose field `mark` is true stand out."""

    rows: Sequence[dict[str, Any]]
    columns: Sequence[Column]
    title: str = ""
    mark: str = ""

    def shown(self) -> list[Column]:
        """The columns, without optional ones that hold nothing."""
        return [one for one in self.columns if not one.optional or any(map(one.of, self.rows))]

    def cells(self) -> Iterator[tuple[list[str], bool]]:
        """Each row's cells, and whether it stands out."""
        columns = self.shown()
        for row in self.rows:
            yield [one.of(row) for one in columns], bool(self.mark and row.get(self.mark))


@dataclass(frozen=True)
class Code:
    """Lines to be copied. folded: shown only when a reader asks for them."""

    text: str
    folded: str = ""


@dataclass(frozen=True)
class Plot:
    """A figure; words: what it shows, where figures cannot be."""

    figure: Figure
    words: str


Part = Words | Cards | Rows | Code | Plot


@dataclass
class Section:
    """Parts under one heading."""

    title: str
    parts: list[Part] = field(default_factory=list)


@dataclass
class Page:
    """Everything that one file holds. about: the line under its title."""

    title: str
    about: str
    sections: list[Section] = field(default_factory=list)

    def add(self, title: str, parts: Sequence[Part]) -> None:
        """One more section, unless it is empty."""
        if parts:
            self.sections.append(Section(title, list(parts)))
