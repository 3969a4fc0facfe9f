"""Figures as files: a page that needs no network, and a picture of it by a browser."""

from __future__ import annotations

import shutil
import subprocess
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from analysis.answers import Answer
from bus.errors import InputError
from mlmodelscope.answer_words import UNTOLD, cells, columns_of, reasons

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PICTURE_S = 60.0
STYLE = """
body { font-family: sans-serif; margin: 2em auto; max-width: 1100px; color: #222; }
table { border-collapse: collapse; font-size: 13px; }
th, td { padding: 3px 9px; border-bottom: 1px solid #ddd; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
td.na { color: #999; } p.note { color: #666; font-size: 13px; margin: 3px 0; }
"""


def write_html(answer: Answer, path: Path) -> None:
    """Plot, notes and every row in one file, plotly's own code inside."""
    plot = _figure(answer).to_html(include_plotlyjs=True, full_html=False)
    title = escape(f"{answer.analysis} · {answer.title}")
    notes = [*answer.notes, *reasons(answer.table())]
    words = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><h1>{title}</h1>{plot}{words}{_table(answer)}</html>"
    )


def write_png(answer: Answer, path: Path) -> None:
    """A picture of the plot, taken by the Chromium or Chrome of this machine."""
    draw_png(_figure(answer), path)


def draw_png(made: Any, path: Path) -> None:
    """A picture of a plotly figure that says how wide and high it is."""
    browser = find_browser("--output png", "--output html")
    size = f"--window-size={made.layout.width},{made.layout.height}"
    with TemporaryDirectory(prefix="mlmodelscope-") as folder:
        page = Path(folder) / "plot.html"
        config = {"displayModeBar": False, "staticPlot": True}
        plot = made.to_html(include_plotlyjs=True, full_html=False, config=config)
        page.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin:0">{plot}')
        shot = Path(folder) / "plot.png"
        profile = f"--user-data-dir={folder}/profile"
        command = [browser, *QUIET, size, profile, f"--screenshot={shot}", "--timeout=20000"]
        _draw([*command, page.as_uri()], shot, "--output png", "--output html")
        shutil.move(shot, path)


def write_pdf(page: str, path: Path) -> None:
    """A page of HTML as PDF, printed by the Chromium or Chrome of this machine."""
    browser = find_browser("a report as .pdf", "-o report.html")
    with TemporaryDirectory(prefix="mlmodelscope-") as folder:
        source, printed = Path(folder) / "page.html", Path(folder) / "page.pdf"
        source.write_text(page)
        command = [browser, *QUIET, f"--user-data-dir={folder}/profile", "--no-pdf-header-footer"]
        command += [f"--print-to-pdf={printed}", "--timeout=20000", source.as_uri()]
        _draw(command, printed, "a report as .pdf", "-o report.html")
        shutil.move(printed, path)


def find_browser(what: str, instead: str) -> str:
    """The first browser that is installed; InputError says what to do where none is."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise InputError(
            f"{what}: no browser is installed ({', '.join(BROWSERS)}): install Chromium, "
            f"or use {instead}"
        )
    return browser


def _draw(command: list[str], made: Path, what: str, instead: str) -> None:
    """Let the browser make a file; InputError with its last words where it does not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PICTURE_S)
    except subprocess.TimeoutExpired as exc:
        raise InputError(
            f"{what}: {command[0]} drew nothing within {PICTURE_S:g} s: use {instead}"
        ) from exc
    if not made.exists():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InputError(f"{what}: {command[0]} drew nothing: {last[-300:]}")


def _figure(answer: Answer):  # type: ignore[no-untyped-def]
    need_plotly()
    from mlmodelscope import plots

    return plots.figure(answer)


def need_plotly() -> None:
    """InputError, which says what to install, where plots cannot be made."""
    try:
        from mlmodelscope import plots  # noqa: F401
    except ImportError as exc:
        raise InputError(
            "plots need plotly, which is not installed here: pip install 'mlmodelscope[plots]'"
        ) from exc


def _table(answer: Answer) -> str:
    rows = answer.table()
    columns = columns_of(rows, UNTOLD)
    head = "".join(f"<th>{escape(column.heading)}</th>" for column in columns)
    body = []
    for row in rows:
        shown = cells(row)
        made = []
        for column in columns:
            missing = row[column.field] is None
            kind = "na" if missing else "n" if column.right else ""
            why = escape(row["na"].get(column.field, "")) if missing else ""
            made.append(f'<td class="{kind}" title="{why}">{escape(shown[column.field])}</td>')
        body.append(f"<tr>{''.join(made)}</tr>")
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"
