"""The page Evaluate: choose a model, what goes in, where it runs; and the form behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

import msgspec
from aiohttp import BodyPartReader, web

from bus.errors import RefusedError
from bus.messages import LEVELS, Fitting, Manifest, Place, Wanted
from web import asking
from web.bodies import NewEvaluation
from web.problems import ProblemError
from web.rendering import Page
from web.state import State

MOST_TEXT = 100_000
MOST_FIELDS = 500
MOST_AT_ONCE = 12
ACCEPT = {
    "image": "image/*",
    "audio": "audio/*",
    "text": ".txt,text/plain",
    "raw": ".npy,.npz,.json",
}


@dataclass
class Given:
    """What the form held."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)

    def one(self, name: str) -> str:
        """The first value of a field."""
        return (self.fields.get(name) or [""])[0].strip()


async def form(request: web.Request) -> web.Response:
    """The form, for the model that is named or the first."""
    state = Page.state(request)
    known = (await state.client.models()).models
    name = request.query.get("model", "")
    manifest = _named(known, name) if name else next(iter(known), None)
    if manifest is None:
        raise ProblemError(404, "unknown_model", f"no model is called {name or 'anything'}")
    fitting, why = await _fitting(state, manifest)
    datasets = await state.client.datasets()
    return Page.render(
        request,
        "evaluate.html",
        manifest=manifest,
        modality=next((one.type for one in manifest.inputs), "raw"),
        accept=ACCEPT.get(next((one.type for one in manifest.inputs), ""), ""),
        groups=_by_task(known),
        alike=_alike(known, manifest),
        datasets=sorted({one.name for one in datasets if one.task == manifest.task}),
        fitting=fitting,
        why_not=why,
        levels=LEVELS,
        given={
            "batch_sizes": request.query.get("batch_sizes", "1")[:100],
            "runs": request.query.get("runs", "100")[:10],
            "trace": request.query.get("trace", "framework"),
            "place": request.query.get("place", "")[:300],
        },
    )


def _named(known: Sequence[Manifest], name: str) -> Manifest | None:
    bare = name.partition("@")[0]
    return next((one for one in known if one.name == bare), None)


async def _fitting(state: State, manifest: Manifest) -> tuple[Fitting | None, str]:
    try:
        return await state.client.fits(manifest.name, Wanted()), ""
    except RefusedError as exc:
        return None, str(exc)


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


# ------------------------------------------------------------------ it is sent


async def run(request: web.Request) -> web.Response:
    """Have it run: one evaluation, or several side by side."""
    Page.needs(request, "run")
    state = Page.state(request)
    given = await _read(request, state)
    wishes = _wishes(given)
    if not 0 < len(wishes) <= MOST_AT_ONCE:
        raise ProblemError(
            422, "body", f"{len(wishes)} evaluations at once: expected 1 to {MOST_AT_ONCE}"
        )
    begun = [await asking.begin(state, wish) for wish in wishes]
    if len(begun) == 1:
        raise web.HTTPSeeOther(f"/evaluations/{begun[0].evaluation_id}")
    ids = ",".join(one.evaluation_id for one in begun)
    raise web.HTTPSeeOther(f"/together?{urlencode({'ids': ids}, safe=',')}")


async def _read(request: web.Request, state: State) -> Given:
    """The form's fields and files; its first field shows that it is of our own page."""
    if not request.content_type.startswith("multipart/"):
        raise ProblemError(415, "body", "expected a form of the page Evaluate")
    given, checked = Given(), False
    try:
        parts = await request.multipart()
        async for part in parts:
            if not isinstance(part, BodyPartReader):
                raise ProblemError(422, "body", "a form inside the form")
            if part.name == "word":
                Page.check_word(request, (await part.read_chunk(200)).decode(errors="replace"))
                checked = True
            elif not checked:
                raise ProblemError(403, "foreign", "this form is not of a page of yours")
            elif part.filename is not None:
                await _file(part, given, state)
            else:
                await _text(part, given)
    except (ValueError, AssertionError) as exc:
        raise ProblemError(422, "body", f"the form cannot be read: {exc}") from exc
    if text := given.one("text"):
        given.uploads.append((await state.uploads.take("text.txt", _once(text))).upload)
    return given


async def _file(part: BodyPartReader, given: Given, state: State) -> None:
    if part.filename:
        upload = await state.uploads.take(part.filename, _pieces(part))
        given.uploads.append(upload.upload)
        return
    await part.release()  # no file was chosen


async def _text(part: BodyPartReader, given: Given) -> None:
    data = bytearray()
    async for piece in _pieces(part):
        data += piece
        if len(data) > MOST_TEXT:
            raise ProblemError(413, "too_large", f"a field holds more than {MOST_TEXT} bytes")
    values = given.fields.setdefault(part.name or "", [])
    values.append(data.decode(errors="replace"))
    if sum(map(len, given.fields.values())) > MOST_FIELDS:
        raise ProblemError(413, "too_large", f"more than {MOST_FIELDS} fields")


async def _pieces(part: BodyPartReader):  # type: ignore[no-untyped-def]
    while piece := await part.read_chunk(1 << 16):
        yield piece


async def _once(text: str):  # type: ignore[no-untyped-def]
    yield text.encode()


def _wishes(given: Given) -> list[NewEvaluation]:
    """One evaluation for each place of the model, and one for each other model."""
    inputs: list[dict[str, str]] = [{"upload": one} for one in given.uploads]
    inputs += [{"url": line} for line in given.one("url").split()]
    dataset = given.one("dataset")
    asked: dict[str, object] = {
        "inputs": [] if dataset else inputs,
        "dataset": dataset,
        "batch_sizes": [part for part in given.one("batch_sizes").replace(",", " ").split()],
        "runs": given.one("runs") or 100,
        "trace": given.one("trace") or "model",
    }
    asked["batch_sizes"] = asked["batch_sizes"] or [1]
    places = [_place(text) for text in given.fields.get("place", [])]
    model = given.one("model")
    wishes = [
        {"node": p.node_id, "framework": f"{p.framework}", "environment": p.environment}
        for p in places
    ] or [{}]
    made = [_checked({**asked, "model": model, **wish}) for wish in wishes]
    return made + [_checked({**asked, "model": name}) for name in given.fields.get("also", [])]


def _place(text: str) -> Place:
    node, _, rest = text.partition("|")
    framework, _, environment = rest.partition("|")
    return Place(node_id=node, framework=framework, framework_version="", environment=environment)


def _checked(asked: dict[str, object]) -> NewEvaluation:
    try:
        return msgspec.convert(asked, NewEvaluation, strict=False)
    except msgspec.ValidationError as exc:
        raise ProblemError(422, "body", str(exc)) from exc
