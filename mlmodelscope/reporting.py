"""The command report: fetch, make the page, write it as one file."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.comparison import Wanted
from analysis.evidence import Evidence
from analysis.summary import summarize
from bus.codec import content_digest
from bus.errors import BusError, InputError
from bus.messages import JobStarted, Manifest, Message
from manifests.catalog import dump
from mlmodelscope import comparing, pictures, report_many, report_one
from mlmodelscope.analyses import Analyses, known_ceilings, refuse_unfinished
from mlmodelscope.client import Client
from mlmodelscope.comparing import Stored
from mlmodelscope.evaluating import progress_bar
from mlmodelscope.page import Page
from mlmodelscope.page_html import as_html
from mlmodelscope.page_markdown import as_markdown
from mlmodelscope.report_one import TOLD, Reported
from mlmodelscope.tables import console

ENDINGS = (".html", ".pdf", ".md")


@dataclass(frozen=True)
class Wish:
    """What a report is to be. path: None for a name made of the ids."""

    path: Path | None
    batch_size: int = 0
    compared: Wanted = Wanted()


async def report(client: Client, names: Sequence[str], wish: Wish) -> int:
    """Write the report of one evaluation, or of several held against the first."""
    check(names, wish)
    with progress_bar() as progress:
        task = progress.add_task("fetching", total=len(names) + 1)
        async with client:
            page, ids = await page_of(client, names, wish, lambda: progress.advance(task))
        path = wish.path or Path(f"report-{'-'.join(one[:8] for one in ids[:3])}.html")
        progress.update(task, description=f"writing {path.name}")
        write(page, path)
    console().print(f"{path}: {path.stat().st_size:,} bytes", markup=False, soft_wrap=True)
    return 0


async def page_of(
    client: Client, names: Sequence[str], wish: Wish, fetched_one: Callable[[], None] = lambda: None
) -> tuple[Page, list[str]]:
    """What the report says, of a client that is connected; and the whole ids."""
    fetched = []
    for name in names:
        fetched.append(await _reported(client, name, wish, len(names) == 1))
        fetched_one()
    sides = [side for side, _ in fetched]
    one = len(sides) == 1
    page = report_one.page_of(sides[0]) if one else await _compared(client, fetched, wish)
    return page, [side.evaluation_id for side in sides]


def check(names: Sequence[str], wish: Wish) -> None:
    """Everything that can be known to be wrong before something is fetched."""
    if not names:
        raise InputError("expected an evaluation, or several: report ID, report A B")
    path = wish.path
    if path is not None:
        if path.suffix.lower() not in ENDINGS:
            raise InputError(f"{path}: expected a name that ends in {', '.join(ENDINGS)}")
        if not path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}")
        if path.is_dir():
            raise InputError(f"{path} is a folder: expected the name of a file")
        if path.suffix.lower() == ".pdf":
            pictures.find_browser("a report as .pdf", "-o report.html")
    if path is None or path.suffix.lower() != ".md":
        pictures.need_plotly()


def write(page: Page, path: Path) -> None:
    """One file, in the format that its ending names."""
    try:
        match path.suffix.lower():
            case ".pdf":
                pictures.write_pdf(as_html(page), path)
            case ".md":
                path.write_text(as_markdown(page))
            case _:
                path.write_text(as_html(page))
    except OSError as exc:
        raise InputError(f"cannot write {path}: {exc.strerror}") from exc


async def _reported(
    client: Client, name: str, wish: Wish, analyzed: bool
) -> tuple[Reported, Stored]:
    evaluation_id, facts, metrics = await client.stored(name)
    refuse_unfinished(evaluation_id, facts)
    result = summarize(facts)
    stored = Stored(evaluation_id, facts, metrics)
    whole = stored.has_layers or result.recording is not None
    if whole:
        stored.timeline = await client.timeline(evaluation_id)
    told = stored.timeline or await client.timeline_head(evaluation_id)
    manifest = await _manifest(client, facts)
    answers = []
    if analyzed:
        evidence = Evidence(facts, stored.timeline, ceilings=await known_ceilings(client, facts))
        answers = Analyses(evidence, wish.batch_size).answers(",".join(TOLD))
    text = dump(manifest) if manifest is not None else ""
    return Reported(evaluation_id, facts, result, told, answers, manifest, text), stored


async def _manifest(client: Client, facts: Sequence[Message]) -> Manifest | None:
    """The manifest that was run, if the system still has one of just that content."""
    started = next((fact for fact in facts if isinstance(fact, JobStarted)), None)
    if started is None or started.recording is not None:
        return None
    try:
        known = (await client.models(started.model, hidden=True)).models
    except BusError:
        return None  # nobody who knows models is there: the digest alone is told
    return next((one for one in known if content_digest(one) == started.model_digest), None)


async def _compared(client: Client, fetched: Sequence[tuple[Reported, Stored]], wish: Wish) -> Page:
    stored = [one for _, one in fetched]
    found = await comparing.against_first(client, stored, wish.compared)
    layers = [comparing.layer_pairs(stored[0], one) for one in stored[1:]]
    words = ["mlmodelscope", "report", *(one.evaluation_id[:12] for one in stored)]
    words += ["--across", wish.compared.across] if wish.compared.across else []
    words += ["--force"] if wish.compared.force else []
    words += ["-o", wish.path.name if wish.path is not None else "report.html"]
    command = " ".join(map(shlex.quote, words))
    return report_many.page_of(
        report_many.Compared([side for side, _ in fetched], found, layers, command)
    )
