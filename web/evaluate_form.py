"""The form of the page Evaluate: read, and turned into requests, or into faults field by field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import BodyPartReader, web

from bus.errors import MLModelScopeError, RefusedError
from bus.messages import LEVELS, Wanted
from web.bodies import NewEvaluation
from web.load_form import LoadField, fields_of, load_of, number_of
from web.problems import ProblemError
from web.rendering import Page
from web.state import State

MOST_TEXT = 100_000
MOST_FIELDS = 500
PREFERENCES = {"": "any", "least_loaded": "the least busy", "fastest": "the fastest"}
PREFERENCES |= {"cheapest": "the cheapest"}
DEVICES = ("cpu", "gpu", "other")
NUMBERS = (
    LoadField("runs", "Queries each", "", whole=True, most=10_000_000),
    LoadField("warmup", "Queries before, uncounted", "", whole=True, most=2**31 - 1),
    LoadField("threads", "Threads of the framework", "", "its own choice", whole=True, most=4096),
    LoadField("seed", "Seed", "", "0", whole=True, most=2**31 - 1),
    LoadField("limit", "Items of it at most", "", "all", whole=True, most=2**31 - 1),
    LoadField("timeout_s", "Give up after, seconds", "", "600", most=86_400),
)
OF_REFUSALS = {
    "unknown_model": "model",
    "unmet_version": "model",
    "not_runnable": "model",
    "unknown_dataset": "dataset",
    "no_nodes": "place",
    "nothing_fits": "place",
}
"""Beside which field a refusal is shown."""


@dataclass
class Given:
    """What a form holds. uploads: files that are here, by their SHA-256."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def one(self, name: str, default: str = "") -> str:
        """The first value of a field."""
        return (self.fields.get(name) or [default])[0].strip()

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [text for text in self.fields.get(name, []) if text]

    def has(self, name: str, value: str) -> bool:
        """Whether a box is ticked."""
        return value in self.fields.get(name, [])

    @property
    def plain(self) -> dict[str, str]:
        """Each field's first value."""
        return {name: self.one(name) for name in self.fields}


# ------------------------------------------------------------------ from a browser


def from_query(request: web.Request) -> Given:
    """A form that is only looked at."""
    fields: dict[str, list[str]] = {}
    for name, value in request.query.items():
        fields.setdefault(name[:100], []).append(value[:MOST_TEXT])
    return Given(fields, uploads=[one[:64] for one in fields.get("upload", [])])


async def from_body(request: web.Request, state: State) -> Given:
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
    given.uploads = [*dict.fromkeys([*given.fields.get("upload", []), *given.uploads])]
    return given


async def _file(part: BodyPartReader, given: Given, state: State) -> None:
    if not part.filename:
        await part.release()  # no file was chosen
        return
    try:
        given.uploads.append((await state.uploads.take(part.filename, _pieces(part))).upload)
    except ProblemError as exc:
        if exc.status != 422:
            raise
        given.faults["file"] = f"{part.filename[:80]}: {exc.detail}"


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


async def keep_text(given: Given, state: State) -> None:
    """Text that was typed is an input like a file."""
    if text := given.one("text"):
        given.uploads.append((await state.uploads.take("text.txt", _once(text))).upload)


async def _once(text: str):  # type: ignore[no-untyped-def]
    yield text.encode()


# ------------------------------------------------------------------ what is asked for


def wanted_of(given: Given) -> Wanted:
    """What a node must have, as the form says it."""
    return Wanted(
        framework=given.one("framework")[:300],
        device=given.one("device", "cpu") if given.one("device", "cpu") in DEVICES else "cpu",
        node=given.one("node")[:300],
        requires=constraints(given),
    )


def constraints(given: Given) -> list[str]:
    """`gpu.memory>=16GiB, labels.room=b`: each by itself; blanks inside one are its own."""
    return [
        part.strip()[:300] for part in re.split(r"[,\n]", given.one("requires")) if part.strip()
    ]


def wishes(given: Given) -> list[NewEvaluation]:
    """One evaluation for each place of the model, and one for each other model.

    What is wrong is told in `given.faults`, by field; then nothing is to be run.
    """
    common = _common(given)
    model, wanted = given.one("model"), wanted_of(given)
    if not model:
        given.faults["model"] = "expected a model"
    anywhere = {"framework": wanted.framework, "node": wanted.node}
    places = [_place(text) for text in given.all("place")] or [anywhere]
    asked = [{"model": model, **place} for place in places]
    asked += [{"model": name, **anywhere} for name in given.all("also")]
    if given.faults:
        return []
    return [wish for one in asked if (wish := _checked({**common, **one}, given)) is not None]


def _common(given: Given) -> dict[str, Any]:
    """What all of them share."""
    inputs: list[dict[str, str]] = [{"upload": one} for one in given.uploads]
    inputs += [{"url": line} for line in [*given.one("url").split(), *given.all("sample")]]
    dataset = given.one("dataset")
    if dataset and inputs:
        given.faults["dataset"] = "expected labelled data or inputs of your own, not both"
    for line in given.one("url").split():
        if not re.match(r"(https?|package)://\S", line):
            given.faults["url"] = f"expected http:// or https:// … (got {line[:60]!r})"
    wanted = wanted_of(given)
    numbers = {
        one.name: value
        for one in NUMBERS
        if (text := given.one(one.name))
        and (value := number_of(text, one, given.faults)) is not None
    }
    if given.one("runs") == "0":
        given.faults["runs"] = "expected 1 or more"
    trace = given.one("trace", "model")
    if trace not in LEVELS:
        given.faults["trace"] = f"expected one of {', '.join(LEVELS)}"
    return {
        "inputs": inputs,
        "dataset": dataset,
        "batch_sizes": _sizes(given),
        "trace": trace,
        "leveled": not given.one("together"),
        "device": wanted.device,
        "requires": wanted.requires,
        "prefer": given.one("prefer"),
        "settings": _settings(given),
        "scenario": None if dataset else load_of(given.plain, given.faults),
        **numbers,
    }


def _sizes(given: Given) -> list[int]:
    texts = [part for part in re.split(r"[\s,]+", given.one("batch_sizes", "1")) if part]
    wrong = [text for text in texts if not text.isdecimal() or not 1 <= int(text[:9]) <= 65536]
    if wrong or not texts or len(texts) > 32:
        got = f" (got {wrong[0][:40]!r})" if wrong else ""
        given.faults["batch_sizes"] = f"expected 1 to 32 numbers from 1 to 65536{got}"
        return [1]
    return [*dict.fromkeys(map(int, texts))]


def _settings(given: Given) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for line in given.one("settings").splitlines():
        if not line.strip():
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not name or not equals or not value:
            given.faults["settings"] = f"expected NAME=VALUE in each line (got {line[:60]!r})"
        found[name] = int(value) if re.fullmatch(r"\d{1,15}", value) else value
    return found


def _place(text: str) -> dict[str, str]:
    node, _, rest = text.partition("|")
    framework, _, environment = rest.partition("|")
    return {"node": node, "framework": framework, "environment": environment}


def _checked(asked: Mapping[str, Any], given: Given) -> NewEvaluation | None:
    try:
        return msgspec.convert(asked, NewEvaluation, strict=False)
    except msgspec.ValidationError as exc:
        text, _, path = str(exc).partition(" - at `$.")
        name = re.split(r"[.`\[]", path)[0]
        given.faults[{"inputs": "url"}.get(name, name) or "form"] = text
        return None


def fault_of(exc: MLModelScopeError, given: Given) -> None:
    """An evaluation was refused: say so beside the field that it is about."""
    text = str(exc)
    name = OF_REFUSALS.get(exc.kind, "form") if isinstance(exc, RefusedError) else "form"
    if found := re.match(r"scenario: (\w+): (.+)", text, re.S):
        name, text = found.groups()
    elif found := re.match(r"(batch_sizes|dataset|settings|requires|runs|warmup)\b", text):
        name = found[1]
    given.faults[name] = text


# ------------------------------------------------------------------ filled in


def filled(wish: NewEvaluation, notes: Sequence[str]) -> Given:
    """The form as it would have been filled for a request."""
    urls = [one.url for one in wish.inputs if one.url]
    samples = [url for url in urls if url.startswith("package://")]
    texts = {
        "model": wish.model,
        "dataset": wish.dataset,
        "url": "\n".join(url for url in urls if url not in samples),
        "batch_sizes": ", ".join(map(str, wish.batch_sizes)),
        "trace": wish.trace,
        "together": "" if wish.leveled else "yes",
        "device": wish.device,
        "place": f"{wish.node}|{wish.framework}|{wish.environment}",
        "settings": "\n".join(f"{name}={value}" for name, value in wish.settings.items()),
        "requires": ", ".join(wish.requires),
        "prefer": wish.prefer,
        **fields_of(wish.scenario),
    }
    for one in NUMBERS:
        value = getattr(wish, one.name)
        texts[one.name] = f"{value:g}" if one.name == "timeout_s" else str(value or "")
    fields = {name: [text] for name, text in texts.items() if text} | {"sample": samples}
    return Given(fields, [one.upload for one in wish.inputs if one.upload], notes=[*notes])
