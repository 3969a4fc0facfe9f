"""A study's figures as files: rows, a page each that needs no network, or pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from analysis.answers import Answer
from mlmodelscope import analyze
from mlmodelscope.page_html import anchor, as_html

FORMS = ("csv", "png", "html")
LOOK = {"autosize": False, "width": 1000, "template": "plotly_white"}
TITLE = {"x": 0.01, "y": 0.98, "yref": "container", "automargin": True, "font": {"size": 16}}


def write(answer: Answer, folder: Path, form: str) -> Iterator[Path]:
    """Each file, named for its figure; a picture a plot, where a figure has one for each model."""
    path = folder / f"{answer.name}.{form}"
    if form == "csv":
        path.write_text(analyze.as_csv(answer))
        yield path
    elif form == "html":
        yield _page(answer, path)
    else:
        yield from _pictures(answer, folder)


def _page(answer: Answer, path: Path) -> Path:
    from mlmodelscope.page import Page, Plot
    from mlmodelscope.site_pages import figure_parts

    page = Page(answer.title, "A figure of a study by MLModelScope")
    parts = figure_parts(answer, {})
    for part in parts:
        if isinstance(part, Plot):
            part.figure.update_layout(**LOOK)
            page.add(part.words, [part])
    page.add("In numbers", [part for part in parts if not isinstance(part, Plot)])
    path.write_text(as_html(page))
    return path


def _pictures(answer: Answer, folder: Path) -> Iterator[Path]:
    from mlmodelscope import pictures, plots_study

    drawn = plots_study.figures(answer)
    for title, figure in drawn:
        figure.update_layout(**LOOK, title={**TITLE, "text": title})
        name = answer.name if len(drawn) == 1 else f"{answer.name}-{anchor(title)}"
        path = folder / f"{name}.png"
        pictures.draw_png(figure, path)
        yield path
