"""A page of a study's site as HTML: it needs the files beside it, and no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from mlmodelscope.page import Cards, Code, Page, Part, Plot, Rows, Section, Words
from mlmodelscope.page_html import anchor, prose

MADE_BY = "mlmodelscope study"
"""By this a folder is known to hold a study's site."""


@dataclass(frozen=True)
class File:
    """One page of a site: its file's name, what links to it say (its heading too), what is on it.

    links: of each section, files that hold its rows, as (file, words).
    """

    name: str
    link: str
    page: Page
    links: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table(Rows):
    """A table whose cells that read n/a have their reasons, and may be links.

    whys: of each row, field -> why it has no value; hrefs: where the first column's texts lead.
    """

    whys: Sequence[dict[str, str]] = ()
    hrefs: dict[str, str] = field(default_factory=dict)


def as_html(file: File, menu: Sequence[File]) -> str:
    """The whole file. menu: the pages that every page links to."""
    page = file.page
    heading = page.title if file is menu[0] else file.link
    drawn = any(isinstance(part, Plot) for section in page.sections for part in section.parts)
    number = iter(range(10**6))
    body = "".join(_section(file, section, number) for section in page.sections)
    scripts = '<script src="plotly.min.js"></script><script src="site.js"></script>'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="{MADE_BY}"><title>{escape(page.title)}</title>'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="site.css"></head><body>'
        '<a class="skip" href="#main">To the content</a>'
        f'<header><div><a class="brand" href="index.html">{escape(menu[0].page.title)}</a>'
        f'<nav aria-label="Pages">{_menu(file, menu)}</nav></div></header>'
        f'<main id="main"><h1>{escape(heading)}</h1><p class="about">{escape(page.about)}</p>'
        f"{body}</main>{scripts if drawn else ''}</body></html>\n"
    )


def _menu(file: File, menu: Sequence[File]) -> str:
    return "".join(
        f'<a href="{other.name}"{" aria-current=page" if other.name == file.name else ""}>'
        f"{escape(other.link)}</a>"
        for other in menu
    )


def _section(file: File, section: Section, number: Iterator[int]) -> str:
    name = anchor(section.title)
    links = " · ".join(
        f'<a href="{href}">{escape(words)}</a>' for href, words in file.links.get(section.title, ())
    )
    rows = f'<p class="note">Every row, and what is not shown here: {links}</p>' if links else ""
    parts = "".join(_parts(section.parts, number))
    return f'<section id="{name}"><h2>{escape(section.title)}</h2>{parts}{rows}</section>'


def _parts(parts: Sequence[Part], number: Iterator[int]) -> Iterator[str]:
    """Plots that follow one another stand side by side where there is room."""
    at = 0
    while at < len(parts):
        plots: list[Plot] = []
        while at < len(parts) and isinstance(part := parts[at], Plot):
            plots.append(part)
            at += 1
        if plots:
            several = len(plots) > 1
            drawn = "".join(_plot(plot, next(number), several) for plot in plots)
            yield f'<div class="plots{"" if several else " one"}">{drawn}</div>'
            yield "<noscript>Plots need JavaScript; the tables and files hold the same.</noscript>"
        else:
            yield _part(parts[at])
            at += 1


def _plot(plot: Plot, number: int, captioned: bool) -> str:
    title = escape(plot.words)
    caption = f"<figcaption>{title}</figcaption>" if captioned else ""
    height = int(plot.figure.layout.height or 0)
    data = plot.figure.to_json().replace("</", "<\\/")
    return (
        f"<figure>{caption}"
        f'<div class="drawn" role="img" aria-label="Plot: {title}" data-figure="figure-{number}" '
        f'style="height:{height}px"></div>'
        f'<script type="application/json" id="figure-{number}">{data}</script></figure>'
    )


def _part(part: Part) -> str:
    match part:
        case Words() | Cards() | Code():
            return prose(part)
        case Rows():
            return "".join(_table(part))
    raise AssertionError(f"plots are drawn elsewhere: {part}")


def _table(part: Rows) -> Iterator[str]:
    if part.title:
        yield f"<h3>{escape(part.title)}</h3>"
    columns = part.shown()
    table = part if isinstance(part, Table) else Table(part.rows, part.columns)
    kinds = ["n" if column.right else "" for column in columns]
    yield '<div class="wide" tabindex="0" role="region" aria-label="Table"><table><thead><tr>'
    for column, kind in zip(columns, kinds, strict=True):
        yield f'<th scope="col" class="{kind}">{escape(column.heading)}</th>'
    yield "</tr></thead><tbody>"
    for at, (cells, marked) in enumerate(part.cells()):
        whys = table.whys[at] if at < len(table.whys) else {}
        yield '<tr class="mark">' if marked else "<tr>"
        for text, kind, column in zip(cells, kinds, columns, strict=True):
            why = whys.get(column.field, "") if text == "n/a" else ""
            told = f' title="{escape(why)}"' if why else ""
            classes = " ".join(filter(None, (kind, "na" if text == "n/a" else "")))
            yield f'<td class="{classes}"{told}>{_cell(text, column is columns[0], table)}</td>'
        yield "</tr>"
    yield "</tbody></table></div>"


def _cell(text: str, first: bool, table: Table) -> str:
    href = table.hrefs.get(text) if first else None
    return f'<a href="{escape(href)}">{escape(text)}</a>' if href else escape(text)
