"""Evaluations side by side: what each says, how fast it is, and what may be said of the difference.

Which ones are compared stands in the address, so that a link shows the same to everyone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from analysis.comparability import ASPECTS
from analysis.comparison import Wanted
from analysis.summary import Result
from bus.errors import InputError, MLModelScopeError, NotStoredError
from bus.messages import ListHistory
from mlmodelscope import comparing, pictures, report_many
from mlmodelscope.page import Part, Words
from web import stored
from web.asked_again import asked_again
from web.bodies import NewEvaluation
from web.evaluate_form import Given, wanted_of
from web.evaluation_files import framed
from web.evidence import Evidences
from web.history_rows import shown as shown_row
from web.page_evaluate import address_of, begin_all
from web.page_parts import shown
from web.problems import ProblemError
from web.rendering import Page
from web.said import Said, said
from web.state import State

MOST_TOGETHER = 12
MOST_LISTED = 50
LETTERS = report_many.LETTERS


@dataclass(frozen=True)
class Beside:
    """One of several evaluations: its result, as far as it is known."""

    id: str
    letter: str
    result: Result | None
    said: list[Said]
    ratio: float | None = None
    without: str = ""
    first: str = ""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.result is None or self.result.state == "running"

    @property
    def finished(self) -> bool:
        """Whether it can be held against others."""
        return self.result is not None and self.result.state == "finished"


def ids_of(request: web.Request, least: int = 1) -> list[str]:
    """Which evaluations are meant: `ids=A,B`."""
    ids = list(dict.fromkeys(filter(None, request.query.get("ids", "").split(","))))
    if not least <= len(ids) <= MOST_TOGETHER:
        text = f"ids: expected {least} to {MOST_TOGETHER} ids, with commas (got {len(ids)})"
        raise ProblemError(422, "query", text)
    return ids


async def together(request: web.Request) -> web.Response:
    """Several evaluations side by side, by input; each but the first is held against the first."""
    ids = ids_of(request)
    state = Page.state(request)
    found = await asyncio.gather(*(_beside(state, ids, at) for at in range(len(ids))))
    ratios = _ratios(found)
    all = [_with(one, ratio) for one, ratio in zip(found, ratios, strict=True)]
    across, force = request.query.get("across", ""), bool(request.query.get("force"))
    more = {**({"across": across} if across else {}), **({"force": "yes"} if force else {})}
    first = all[0]
    pairs = [(one, f"?{_query([first.id, one.id], more)}") for one in all[1:]]
    return Page.render(
        request,
        "together.html",
        all=all,
        ids=",".join(one.id for one in all),
        running=any(one.running for one in all),
        rows=max((len(one.said) for one in all), default=0),
        pairs=[(one, query) for one, query in pairs if one.finished and first.finished],
        plot=f"/together/plot?{_query([one.id for one in all if one.finished])}"
        if sum(one.finished for one in all) > 1
        else "",
        aspects=ASPECTS,
        across=across,
        force=force,
    )


def _query(ids: Sequence[str], more: dict[str, str] | None = None) -> str:
    return urlencode({"ids": ",".join(ids), **(more or {})}, safe=",")


def _with(one: Beside, ratio: float | None) -> Beside:
    return Beside(one.id, one.letter, one.result, one.said, ratio, one.without, one.first)


def _ratios(found: Sequence[Beside]) -> list[float | None]:
    """How many times the quickest one's time each takes, where all ran at one batch size."""
    rows = [one.result.latency[0] if one.result and one.result.latency else None for one in found]
    alike = len({row.batch_size for row in rows if row}) == 1  # others are no comparison
    quickest = min((row.p50_ns for row in rows if row and row.p50_ns), default=0) if alike else 0
    return [row.p50_ns / quickest if row and row.p50_ns and quickest else None for row in rows]


async def _beside(state: State, ids: Sequence[str], at: int) -> Beside:
    name, letter = ids[at], LETTERS[at]
    others = [one for one in ids if one != name]
    without = f"/together?{_query(others)}" if others else ""
    first = f"/together?{_query([name, *others])}" if at else ""
    try:
        known = await stored.known(state.client, name)
    except NotStoredError:
        if name not in state.asked:
            raise
        return Beside(name, letter, None, [], None, without, first)
    told = said(state, known)
    return Beside(known.evaluation_id, letter, known.result, told, None, without, first)


# ------------------------------------------------------------------ sections of it


async def verdict(request: web.Request) -> web.Response:
    """What may be said of one held against another: by `compare`, its gate and its intervals."""
    client = Page.state(request).client
    a, b = [await comparing.fetched(client, name, NO_LAYERS) for name in ids_of(request, 2)[:2]]
    letter = _letter(request)
    wanted = Wanted(
        across=request.query.get("across", "")[:60], force=bool(request.query.get("force"))
    )
    try:
        (found,) = await comparing.against_first(client, [a, b], wanted)
    except InputError as exc:
        return _parts(request, [Words(str(exc), "warning")])
    return _parts(request, [*report_many.verdict_of(found, letter)])


NO_LAYERS = comparing.Shown("json", layers=False)


async def layers(request: web.Request) -> web.Response:
    """The layers of two that correspond, and those that differ most."""
    ids, letter = ids_of(request, 2), _letter(request)
    pairs = await _pairs(request, ids[0], ids[1])
    if not pairs:
        why = "no layers to hold against each other: both must have been looked into, with "
        return _parts(request, [Words(f"{why}the trace level framework or deeper", "note")])
    plot = f"/together/layers-plot?{_query(ids[:2])}"
    return _parts(request, [*report_many.layers_of(pairs, letter)], plot)


async def layers_plot(request: web.Request) -> web.Response:
    """The same as a plot, for a frame."""
    ids = ids_of(request, 2)
    pairs = await _pairs(request, ids[0], ids[1])
    pictures.need_plotly()
    from mlmodelscope import plots_comparison

    return framed(request, await asyncio.to_thread(plots_comparison.layers_in_pairs, pairs))


async def _pairs(request: web.Request, a: str, b: str) -> list[Any]:
    evidences: Evidences = request.app[Evidences.KEY]
    seen = [await evidences.of(name) for name in (a, b)]
    one, two = (
        comparing.Stored(each.evaluation_id, each.facts, each.metrics, each.timeline)
        for each in seen
    )
    return await asyncio.to_thread(comparing.layer_pairs, one, two)


async def over_batches(request: web.Request) -> web.Response:
    """Latency and throughput of each over the batch size, as a plot for a frame."""
    client = Page.state(request).client
    known = await asyncio.gather(*(stored.known(client, name) for name in ids_of(request)))
    rows = [
        (f"{LETTERS[at]} · {one.result.model} {one.result.framework}", one.result.latency)
        for at, one in enumerate(known)
    ]
    pictures.need_plotly()
    from mlmodelscope import plots_comparison

    return framed(request, await asyncio.to_thread(plots_comparison.over_batches, rows))


def _letter(request: web.Request) -> str:
    letter = request.query.get("letter", "B")[:1]
    return letter if letter in LETTERS[1:] and letter else "B"


def _parts(request: web.Request, parts: list[Part], plot: str = "") -> web.Response:
    return Page.render(request, "part_words.html", parts=shown(parts, plot))


# ------------------------------------------------------------------ which, and more of them


async def choose(request: web.Request) -> web.Response:
    """Which evaluations to compare: any number, out of the history."""
    ticked = [*dict.fromkeys(one[:40] for one in request.query.getall("id", []))]
    if len(ticked) > 1 and request.query.get("go"):
        raise web.HTTPSeeOther(f"/together?{_query(ticked[:MOST_TOGETHER])}")
    filters = {name: request.query.get(name, "")[:300] for name in ("model", "framework", "node")}
    before = request.query.get("before_ns", "0")
    if not before.isdecimal() or len(before) > 18:
        raise ProblemError(422, "query", "before_ns: expected whole nanoseconds")
    asked = ListHistory(
        model=filters["model"],
        framework=filters["framework"],
        node=filters["node"],
        state="finished",
        before_ns=int(before),
        limit=MOST_LISTED,
    )
    page = await Page.state(request).client.history_page(asked)
    return Page.render(
        request,
        "choose.html",
        rows=[shown_row(row) for row in page.rows],
        filters=filters,
        ticked=ticked,
        older=page.next_before_ns,
        few=bool(request.query.get("go")),
        most=MOST_TOGETHER,
    )


async def trials(request: web.Request) -> web.Response:
    """What could be run beside an evaluation, with the same inputs: other places, other models."""
    state = Page.state(request)
    known = await stored.known(state.client, request.match_info["evaluation"])
    told = await state.client.models()
    bare = known.result.model
    own = next((one for one in told.models if one.name == bare), None)
    alike = [one.name for one in told.models if own and own.task and one.task == own.task]
    why, fitting, notes = "", None, []
    try:
        again = asked_again(state, known)
        notes = again.notes
        wanted = Given({"device": [again.wish.device]})
        fitting = await state.client.fits(again.wish.model, wanted_of(wanted))
    except MLModelScopeError as exc:
        why = str(exc)
        if exc.kind == "unknown_model":
            why = f"{bare} is not published: who has its manifest can publish it, or evaluate it"
    here = f"{known.result.node_id}|{known.result.framework}|{known.result.environment}"
    return Page.render(
        request,
        "part_trials.html",
        id=known.evaluation_id,
        ids=request.query.get("ids", known.evaluation_id)[:600],
        places=[(f"{p.node_id}|{p.framework}|{p.environment}", p) for p in fitting.places]
        if fitting
        else [],
        here=here,
        alike=[name for name in dict.fromkeys(alike) if name != bare][:60],
        why=why,
        notes=notes,
    )


async def add_trials(request: web.Request) -> web.Response:
    """Run what was ticked with the inputs of an evaluation; all are shown side by side."""
    Page.needs(request, "run")
    state = Page.state(request)
    form = await request.post()
    Page.check_word(request, str(form.get("word", "")))
    known = await stored.known(state.client, request.match_info["evaluation"])
    again = asked_again(state, known)
    if again.notes:
        raise ProblemError(422, "input", "; ".join(again.notes))
    wishes = [*_trials(again.wish, form)]
    shown_ids = [one for one in str(form.get("ids", "")).split(",") if one] or [known.evaluation_id]
    if not wishes or len(wishes) + len(shown_ids) > MOST_TOGETHER:
        text = f"{len(wishes)} trials beside {len(shown_ids)}: expected 1 or more, of all at most"
        raise ProblemError(422, "body", f"{text} {MOST_TOGETHER}")
    given = Given()
    begun = await begin_all(state, wishes, given)
    if given.faults:
        raise ProblemError(422, "body", " ".join(given.faults.values()))
    raise web.HTTPSeeOther(address_of([*shown_ids, *begun]))


def _trials(wish: NewEvaluation, form: Any) -> list[NewEvaluation]:
    """The same request in other places, and of other models where they fit."""
    made = []
    for text in form.getall("place", []):
        node, framework, environment = (str(text).split("|") + ["", ""])[:3]
        where = {"node": node, "framework": framework, "environment": environment}
        made.append(msgspec.structs.replace(wish, **where))
    for name in filter(None, form.getall("also", [])):
        anywhere = {"node": "", "framework": "", "environment": "", "model": str(name)[:300]}
        made.append(msgspec.structs.replace(wish, settings={}, **anywhere))
    return made
