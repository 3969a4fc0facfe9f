"""A page as one HTML file that needs no network: plotly's code lies inside, once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from mlmodelscope.page import Cards, Code, Page, Part, Plot, Rows, Words

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Helvetica Neue", Arial, sans-serif; margin: 2.2em auto;
  max-width: 1040px; padding: 0 20px; color: #1f2328; background: #fff; }
h1 { font-size: 27px; line-height: 1.25; margin: 0 0 .2em; }
h2 { font-size: 20px; margin: 2em 0 .6em; padding-bottom: .25em; border-bottom: 2px solid #e3e6ea; }
h3 { font-size: 14px; margin: 1.4em 0 .4em; color: #444c56; }
p { margin: .45em 0; max-width: 900px; overflow-wrap: anywhere; }
p.about { color: #57606a; max-width: none; }
p.note { color: #57606a; font-size: 13px; margin: .2em 0; }
p.warning { background: #fff4d6; border-left: 4px solid #d9a400; padding: .5em .8em; }
p.lead { font-size: 17px; font-weight: 600; }
nav { font-size: 13px; margin: 1em 0; } nav a { color: #0a58ca; text-decoration: none;
  margin-right: 1.1em; white-space: nowrap; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 1.2em 0; }
.card { border: 1px solid #d6dade; border-radius: 8px; padding: 10px 14px; min-width: 150px;
  flex: 1 1 150px; max-width: 300px; }
.card b { display: block; font-size: 21px; white-space: nowrap; }
.card span, .card small { display: block; font-size: 12.5px; color: #57606a; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; margin: .3em 0 .8em; }
th { text-align: left; border-bottom: 2px solid #c4c9cf; padding: 4px 12px 4px 0;
  vertical-align: bottom; font-weight: 600; }
td { border-bottom: 1px solid #e8eaed; padding: 4px 12px 4px 0; vertical-align: top;
  overflow-wrap: break-word; max-width: 430px; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.mark td { font-weight: 700; background: #eef6ee; }
pre { background: #f3f4f6; border-radius: 6px; padding: 10px 12px; font-size: 13px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; color: #0a58ca; }
.plot { margin: .6em 0; overflow-x: auto; }
@page { size: A3; margin: 13mm; }
@media print { body { margin: 0 auto; } nav { display: none; } .wide, .plot { overflow: visible; }
  table { font-size: 12px; } th, td { padding-right: 8px; }
  h2, h3 { break-after: avoid; } tr, .plot, .card, p { break-inside: avoid; } }
"""
PLOT = {"displayModeBar": False, "responsive": False}


def as_html(page: Page) -> str:
    """The whole file."""
    body = "".join(
        f'<section id="{anchor(section.title)}"><h2>{escape(section.title)}</h2>'
        f"{''.join(map(_part, section.parts))}</section>"
        for section in page.sections
    )
    links = " ".join(
        f'<a href="#{anchor(section.title)}">{escape(section.title)}</a>'
        for section in page.sections
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(page.title)}</title><style>{STYLE}</style>{_plotly(page)}</head><body>"
        f'<h1>{escape(page.title)}</h1><p class="about">{escape(page.about)}</p>'
        f"<nav>{links}</nav>{body}</body></html>\n"
    )


def _plotly(page: Page) -> str:
    """The code that draws, where something is drawn."""
    if not any(isinstance(part, Plot) for section in page.sections for part in section.parts):
        return ""
    from mlmodelscope.plots import drawing_code

    return f"<script>{drawing_code()}</script>"


def anchor(title: str) -> str:
    """A title as addresses and names of files have it."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def prose(part: Words | Cards | Code) -> str:
    """What has neither rows nor a drawing; the pages of a site show it alike."""
    match part:
        case Words(text, kind):
            return f'<p class="{kind}">{escape(text)}</p>'
        case Cards(figures):
            cards = "".join(
                f'<div class="card"><span>{escape(what)}</span><b>{escape(value)}</b>'
                f"<small>{escape(about)}</small></div>"
                for what, value, about in figures
            )
            return f'<div class="cards">{cards}</div>'
        case Code(text, folded):
            lines = f"<pre>{escape(text)}</pre>"
            if not folded:
                return lines
            return f"<details><summary>{escape(folded)}</summary>{lines}</details>"


def _part(part: Part) -> str:
    match part:
        case Words() | Cards() | Code():
            return prose(part)
        case Plot(figure, _):
            drawn = figure.to_html(include_plotlyjs=False, full_html=False, config=PLOT)
            return f'<div class="plot">{drawn}</div>'
        case Rows():
            return "".join(_table(part))


def _table(part: Rows) -> Iterator[str]:
    if part.title:
        yield f"<h3>{escape(part.title)}</h3>"
    columns = part.shown()
    kinds = [' class="n"' if column.right else "" for column in columns]
    yield '<div class="wide"><table><thead><tr>'
    for column, kind in zip(columns, kinds, strict=True):
        yield f"<th{kind}>{escape(column.heading)}</th>"
    yield "</tr></thead><tbody>"
    for cells, marked in part.cells():
        yield '<tr class="mark">' if marked else "<tr>"
        for text, kind in zip(cells, kinds, strict=True):
            yield f"<td{kind}>{escape(text)}</td>"
        yield "</tr>"
    yield "</tbody></table></div>"
