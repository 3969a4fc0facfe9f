"""The command study: run it, print its figures as tables or data, write its site."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.markup import escape

from analysis.answers import Answer
from bus.errors import InputError
from mlmodelscope import analyze, study_files, study_run
from mlmodelscope.answer_words import HIDDEN
from mlmodelscope.client import Client
from mlmodelscope.evaluating import progress_bar
from mlmodelscope.exits import FAILED, OK
from mlmodelscope.studies import Study
from mlmodelscope.study_cells import gather
from mlmodelscope.study_figures import NAMES, chosen, figures_of
from mlmodelscope.study_words import alike, cells, columns, reasons
from mlmodelscope.tables import console, print_json, table

UNSHOWN = HIDDEN | {"evaluation", "start_ns", "kernel", "p99_ns", "baseline_ns", "queries"}
"""What a table in a terminal leaves to the files."""
IN_SHORT = ("peak-throughput", "accuracy", "bounds", "cells")
MOST_REASONS = 4


@dataclass(frozen=True)
class Form:
    """How a study leaves: which figures, as what; to: the folder of files; site: of pages."""

    what: str = ""
    output: str = "table"
    to: Path | None = None
    site: Path | None = None
    top: int = 30


def checked(form: Form) -> Form:
    """The form, or what is wrong with it, before anything is started."""
    names = chosen(form.what) if form.what else NAMES
    if form.output == "csv" and form.to is None and len(names) > 1:
        raise InputError("--output csv of several figures: name their folder with --to, or one "
                         "figure with --what")  # fmt: skip
    drawn = form.output in ("png", "html")
    if drawn and form.to is None:
        raise InputError(f"--output {form.output} writes files: name their folder with --to")
    if drawn or form.site is not None:
        from mlmodelscope import pictures

        pictures.need_plotly()
        if form.output == "png":
            pictures.find_browser("--output png", "--output html")
    if form.site is not None:
        from mlmodelscope import site

        site.check(form.site)
    return form


async def study(client: Client, wanted: Study, how: study_run.How, form: Form) -> int:
    """Run a study and show it; FAILED where a cell of it failed."""
    names = chosen(form.what) if form.what else list(NAMES)
    with progress_bar() as progress:
        task = progress.add_task("looking at the study", total=None)

        def step(text: str) -> None:
            progress.update(task, description=text, total=None)

        async with client:
            done = await study_run.run(client, wanted, how, progress, task)
            step("reading what was measured")
            material = await gather(client, done, step)
        step("analyzing")
        found = figures_of(material)
        if form.site is not None:
            from mlmodelscope import site

            step("writing the site")
            site.write(material, found, form.site)
    _print({name: found[name] for name in names}, form)
    for node, why in done.unmeasured.items():
        _say(f"[yellow]{escape(node)}: what it can do at most was not measured:[/] {escape(why)}")
    if form.site is not None:
        _say(f"the site: {escape(str(form.site / 'index.html'))}")
    return FAILED if any(cell.problem for cell in done.cells) else OK


def _say(text: str) -> None:
    """On stderr: what is printed is for programs too."""
    console(stderr=True).print(text, soft_wrap=True)


def _print(found: Mapping[str, Answer], form: Form) -> None:
    answers = list(found.values())
    if form.output == "json":
        print_json(analyze.as_json(answers))
    elif form.output == "csv" and form.to is None:
        sys.stdout.write(analyze.as_csv(answers[0]))
    elif form.output in study_files.FORMS:
        _write(answers, form)
    else:
        short = [_wrong(found[name]) for name in IN_SHORT if name in found]
        _print_tables(answers if form.what else short, form.top)
        if not form.what:
            for note in found["systems"].notes:
                console().print(f"[yellow]{escape(note)}[/]")
            others = ", ".join(name for name in found if name not in IN_SHORT)
            console().print(f"\n--what shows the others: {others}; --what all every one")
    sys.stdout.flush()


def _write(answers: Sequence[Answer], form: Form) -> None:
    """Files, named for their figures; on stderr what there is nothing to draw of."""
    assert form.to is not None  # `checked` saw to it
    form.to.mkdir(parents=True, exist_ok=True)
    for answer in answers:
        written = [*study_files.write(answer, form.to, form.output)]
        for path in written:
            console().print(str(path), markup=False, soft_wrap=True)
        if not written:
            _say(f"{answer.name}: {escape(answer.unavailable or 'has rows and no plot')}")


def _print_tables(answers: Sequence[Answer], top: int) -> None:
    out = console()
    for answer in answers:
        if answer.unavailable:
            why = answer.unavailable if answer.name == "cells" else f"n/a: {answer.unavailable}"
            out.print(f"\n{escape(answer.title)}: {escape(why)}")
            continue
        rows = answer.table()
        shown = rows[:top] if top else rows
        same = alike(rows)
        title = " · ".join((answer.title, *same.values()))
        found = columns(answer.name, rows, UNSHOWN | same.keys())
        out.print(f"\n[italic]{escape(title)}[/]")
        out.print(table([cells(row) for row in shown], found))
        if len(shown) < len(rows):
            out.print(f"… {len(rows) - len(shown)} more rows: --top 0 shows all")
        whys = reasons(answer.name, rows)
        for line in [*answer.notes, *whys[:MOST_REASONS]]:
            out.print(f"[dim]{escape(line)}[/]")
        if len(whys) > MOST_REASONS:
            out.print(f"[dim]… {len(whys) - MOST_REASONS} more reasons: --output json[/]")


def _wrong(answer: Answer) -> Answer:
    """Of the cells only those that went wrong; how many did not is in the notes."""
    if answer.name != "cells":
        return answer
    rows = [row for row, told in zip(answer.rows, answer.table(), strict=True) if told["problem"]]
    said = "" if rows else answer.notes[0]
    return msgspec.structs.replace(answer, rows=rows, unavailable=said)
