"""The page Evaluate: a task and models, what goes in, where it runs, how; and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from bus.errors import InputError, MLModelScopeError, NoAnswerError, NotStoredError
from bus.messages import LEVELS, Fitting, Manifest
from web import asking, samples, stored
from web.asked_again import asked_again
from web.bodies import NewEvaluation
from web.evaluate_form import (
    DEVICES,
    NUMBERS,
    PREFERENCES,
    Given,
    fault_of,
    filled,
    from_body,
    from_query,
    keep_text,
    wanted_of,
    wishes,
)
from web.load_form import FIELDS, FINDS, NAMES
from web.problems import ProblemError
from web.rendering import Page
from web.state import State

MOST_AT_ONCE = 12
FIRST = "EfficientNet-Lite0"
MOST_MODELS = 60
ACCEPT = {
    "image": "image/*",
    "audio": "audio/*",
    "text": ".txt,text/plain",
    "raw": ".npy,.npz,.json",
}


async def form(request: web.Request) -> web.Response:
    """The form: as its address says, or filled in as an evaluation was asked for (`from`)."""
    given = from_query(request)
    if name := given.one("from"):
        given = await _filled(Page.state(request), name, given)
    return await _form(request, given)


async def _filled(state: State, name: str, given: Given) -> Given:
    """As it was asked for; a field that the address names comes from there."""
    try:
        again = asked_again(state, await stored.known(state.client, name[:40]))
    except (InputError, NotStoredError) as exc:
        given.notes.append(f"nothing could be filled in: {exc}")
        return given
    before = filled(again.wish, again.notes)
    if given.one("task") and not given.one("model"):
        del before.fields["model"]  # another task was chosen, and its first model is meant
    before.fields |= {key: values for key, values in given.fields.items() if key != "from"}
    before.fields["beside"] = [name]
    return before


async def _form(request: web.Request, given: Given, status: int = 200) -> web.Response:
    state = Page.state(request)
    told = await state.client.models()
    known = told.models
    manifest = _chosen(known, given)
    if manifest is None:
        raise ProblemError(404, "unknown_model", f"no model is called {_asked(given)}")
    given.fields["model"] = [given.one("model") or manifest.name]
    places, datasets = await asyncio.gather(_places(state, given), state.client.datasets())
    return Page.render(
        request,
        "evaluate.html",
        status=status,
        given=given,
        faults=given.faults,
        manifest=manifest,
        modality=next((one.type for one in manifest.inputs), "raw"),
        accept=ACCEPT.get(next((one.type for one in manifest.inputs), ""), ""),
        tasks=_by_task(known),
        alike=_alike(known, manifest)[:MOST_MODELS],
        samples=_samples(manifest),
        uploads=_kept(state, given),
        datasets=sorted({one.name for one in datasets if one.task == manifest.task}),
        not_runnable=told.not_runnable.get(f"{manifest.name}@{manifest.version}", ""),
        levels=LEVELS,
        numbers={one.name: one for one in NUMBERS},
        scenarios=NAMES,
        loads=FIELDS,
        finds=FINDS,
        beside=given.one("beside"),
        **places,
    )


def _asked(given: Given) -> str:
    return given.one("model") or given.one("task") or "anything"


def _chosen(known: Sequence[Manifest], given: Given) -> Manifest | None:
    """The model that is named (in the framework that is, where it may), or the task's first.

    Where nothing is named, the one with which a first evaluation is easy.
    """
    bare, _, _ = given.one("model").partition("@")
    task, framework = given.one("task"), given.one("framework").partition("@")[0]
    if bare:
        named = [one for one in known if one.name == bare]
        return next((one for one in named if one.framework.name == framework), None) or next(
            iter(named), None
        )
    of_task = [one for one in known if not task or one.task == task]
    easy = [one for one in of_task if not task and one.name == FIRST]
    return next(iter([*easy, *of_task]), None)


def _by_task(known: Sequence[Manifest]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for one in known:
        names = groups.setdefault(one.task or "other", [])
        if one.name not in names:
            names.append(one.name)
    return dict(sorted(groups.items()))


def _alike(known: Sequence[Manifest], manifest: Manifest) -> list[str]:
    """Other models of the same task, which take the same inputs."""
    return [
        name
        for name in dict.fromkeys(one.name for one in known if one.task == manifest.task)
        if name != manifest.name and manifest.task
    ]


def _samples(manifest: Manifest) -> list[dict[str, str]]:
    """What comes with the model: its address, what it is, a picture where there is one."""
    found = []
    for sample in manifest.samples:
        name = sample.url.rsplit("/", 1)[-1]
        here = samples.by_url().get(sample.url)
        picture = here.shown if here is not None and here.media.startswith("image/") else ""
        about = sample.description or name
        found.append({"url": sample.url, "name": name, "about": about, "picture": picture})
    return found


def _kept(state: State, given: Given) -> list[tuple[str, str]]:
    """Files of the form that are here already: nobody need choose them again."""
    found = []
    for one in given.uploads:
        try:
            found.append((one, state.uploads.find(one).name))
        except ProblemError:
            given.faults.setdefault("file", "a file is not on this server any more: send it again")
    return found


# ------------------------------------------------------------------ where it would run


async def places(request: web.Request) -> web.Response:
    """Where the model would run under the constraints of the form, and why not elsewhere."""
    given = from_query(request)
    found = await _places(Page.state(request), given)
    return Page.render(request, "places.html", given=given, faults={}, **found)


async def _places(state: State, given: Given) -> dict[str, Any]:
    """What the part Where of the form shows."""
    fitting: Fitting | None = None
    why, model = "", given.one("model")
    try:
        if model:
            fitting = await state.client.fits(model, wanted_of(given))
    except NoAnswerError:
        raise
    except MLModelScopeError as exc:
        why = str(exc)
    alive = await state.client.nodes()
    frameworks = sorted({one.name for seen in alive for one in seen.node.frameworks})
    return {
        "fitting": fitting,
        "why_not": why,
        "nodes": sorted(seen.node.node_id for seen in alive),
        "frameworks": frameworks,
        "devices": DEVICES,
        "preferences": PREFERENCES,
    }


# ------------------------------------------------------------------ it is sent


async def run(request: web.Request) -> web.Response:
    """Have it run: one evaluation, or several side by side; or the form again, with what is wrong.

    With `beside`, it is shown beside the evaluation that the form was filled in from.
    """
    Page.needs(request, "run")
    state = Page.state(request)
    given = await from_body(request, state)
    asked = [] if given.faults else wishes(given)
    if not given.faults and not given.one("dataset") and given.one("text"):
        await keep_text(given, state)
        asked = wishes(given)
    if not given.faults and not 0 < len(asked) <= MOST_AT_ONCE:
        text = f"{len(asked)} evaluations at once: expected 1 to {MOST_AT_ONCE}"
        given.faults["place"] = text
    begun = [] if given.faults else await begin_all(state, asked, given)
    if given.faults:
        if given.one("text"):
            given.uploads = [one for one in given.uploads if not _is_text(state, one)]
        if begun:
            given.notes.append(
                f"{len(begun)} of {len(asked)} have begun: /together?{_query(begun)}"
            )
        return await _form(request, given, status=422)
    beside = [one for one in given.one("beside").split(",") if one]
    raise web.HTTPSeeOther(address_of([*beside, *begun]))


async def begin_all(state: State, asked: Sequence[NewEvaluation], given: Given) -> list[str]:
    """Ask for each; the ids of those that were accepted, and the first refusal as a fault."""
    begun: list[str] = []
    for wish in asked:
        try:
            begun.append((await asking.begin(state, wish)).evaluation_id)
        except NoAnswerError:
            raise
        except ProblemError as exc:
            given.faults["file" if exc.kind == "unknown_upload" else "form"] = exc.detail
            break
        except MLModelScopeError as exc:
            fault_of(exc, given)
            break
    return begun


def address_of(ids: Sequence[str]) -> str:
    """The page of one evaluation, or of several side by side."""
    return f"/evaluations/{ids[0]}" if len(ids) == 1 else f"/together?{_query(ids)}"


def _query(ids: Sequence[str]) -> str:
    return urlencode({"ids": ",".join(dict.fromkeys(ids))}, safe=",")


def _is_text(state: State, upload: str) -> bool:
    """Whether it is the text of the form itself, which is shown there again."""
    try:
        return state.uploads.find(upload).name == "text.txt"
    except ProblemError:
        return False
