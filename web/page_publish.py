"""Publishing from a page: a manifest is checked as it is typed, published, and withdrawn."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import BodyPartReader, web

from bus.errors import InputError, RefusedError
from bus.messages import DatasetManifest, Manifest
from manifests.catalog import dump, not_runnable
from manifests.checking import Checked, checked
from manifests.reading import MAX_BYTES
from mlmodelscope.dataset_files import named_files as named_by_dataset
from mlmodelscope.manifest_files import named_files as named_by_model
from web.problems import ProblemError
from web.rendering import Page

MOST_FILES = 32


async def form(request: web.Request) -> web.Response:
    """The form: empty, or with the manifest of a model or dataset that is known."""
    Page.needs(request, "publish")
    client = Page.state(request).client
    text = ""
    if name := request.query.get("model", "")[:300]:
        text = next((dump(one) for one in (await client.models(name, hidden=True)).models), "")
    elif name := request.query.get("dataset", "")[:300]:
        text = next((dump(one) for one in await client.datasets(name)), "")
    return Page.render(request, "publish.html", text=text, faults=[], problem="")


async def check(request: web.Request) -> web.Response:
    """What is wrong with a text, at once and each fault with its line and field; as JSON."""
    Page.needs(request, "publish")
    if (request.content_length or 0) > MAX_BYTES:
        raise ProblemError(413, "too_large", f"a manifest holds at most {MAX_BYTES} bytes")
    text = (await request.read()).decode(errors="replace")
    found = await asyncio.to_thread(checked, text)
    told: dict[str, Any] = {
        "kind": found.kind,
        "faults": [{"line": f.line, "field": f.field, "text": f.text} for f in found.faults],
        "files": [],
        "note": "",
    }
    if found.manifest is not None:
        one = found.manifest
        told |= {"name": one.name, "version": one.version, "files": _files(one)}
        told["note"] = await _note(request, one)
    return web.Response(body=msgspec.json.encode(told), content_type="application/json")


async def _note(request: web.Request, one: Manifest | DatasetManifest) -> str:
    """What else a person should know before it is published."""
    client = Page.state(request).client
    if isinstance(one, Manifest):
        if why := not_runnable(one):
            return f"It cannot be published: {why}"
        known: Any = (await client.models(one.name, hidden=True)).models
        known = [k for k in known if k.framework.name == one.framework.name]
    else:
        known = await client.datasets(one.name)
    if any(k.version == one.version for k in known):
        return (
            f"{one.name} {one.version} is known already: the same content again is harmless, "
            "other content is refused. Raise the version."
        )
    return ""


def _files(one: Manifest | DatasetManifest) -> list[dict[str, str]]:
    named = named_by_model(one) if isinstance(one, Manifest) else named_by_dataset(one)
    return [{"field": field, "path": path} for field, path in named]


# ------------------------------------------------------------------ it is sent


async def publish(request: web.Request) -> web.Response:
    """Make it known to everyone, with the files that it names."""
    Page.needs(request, "publish")
    with tempfile.TemporaryDirectory(prefix="mlms-publish-") as name:
        folder = Path(name)
        text, sent = await _read(request, folder / "sent")
        found = await asyncio.to_thread(checked, text)
        try:
            published = await _published(request, found, text, (folder, sent))
        except (InputError, RefusedError) as exc:
            return _again(request, text, found, str(exc).replace(f"{folder}/", ""))
    what = "datasets" if isinstance(published, DatasetManifest) else "models"
    raise web.HTTPSeeOther(f"/{what}/{quote(published.name, safe='')}")


def _again(request: web.Request, text: str, found: Checked, problem: str) -> web.Response:
    return Page.render(
        request, "publish.html", status=422, text=text, faults=found.faults, problem=problem
    )


async def _published(
    request: web.Request, found: Checked, text: str, files: tuple[Path, dict[str, Path]]
) -> Manifest | DatasetManifest:
    client, (folder, sent) = Page.state(request).client, files
    if found.manifest is None:
        raise InputError(f"{len(found.faults)} faults: see below")
    if isinstance(found.manifest, Manifest) and (why := not_runnable(found.manifest)):
        raise InputError(why)
    place = folder / "manifest"
    place.mkdir()
    for named in _files(found.manifest):
        _lay(place, named, sent)
    path = place / "manifest.yml"
    path.write_text(text, encoding="utf-8")
    if isinstance(found.manifest, DatasetManifest):
        return await client.publish_dataset(path)
    return await client.publish(path)


def _lay(place: Path, named: dict[str, str], sent: dict[str, Path]) -> None:
    """Put a file that was sent where the manifest has it; nothing of this machine is ever meant."""
    path = PurePosixPath(named["path"])
    if path.is_absolute() or ".." in path.parts or not path.name or path.parts[0] == "manifest.yml":
        text = "expected an address (https://…) or the name of a file that you send along"
        raise InputError(f"{named['field']}: {named['path'][:200]!r}: {text}")
    given = sent.get(path.name)
    if given is None:
        text = "is not among the files that you sent along: choose it beside the manifest"
        raise InputError(f"{named['field']}: {path.name} {text}")
    target = place / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        target.hardlink_to(given)


async def _read(request: web.Request, folder: Path) -> tuple[str, dict[str, Path]]:
    """The text and the files of the form; its first field shows that it is of our own page."""
    if not request.content_type.startswith("multipart/"):
        raise ProblemError(415, "body", "expected a form of the page Publish")
    folder.mkdir()
    text, sent, left = "", dict[str, Path](), Page.state(request).settings.upload_bytes
    checked_word = False
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise ProblemError(422, "body", "a form inside the form")
            if part.name == "word":
                Page.check_word(request, (await part.read_chunk(200)).decode(errors="replace"))
                checked_word = True
            elif not checked_word:
                raise ProblemError(403, "foreign", "this form is not of a page of yours")
            elif part.name == "text":
                text = await _text(part)
            elif part.name == "file" and part.filename and len(sent) < MOST_FILES:
                target = folder / str(len(sent))
                left = await _file(part, target, left)
                sent[PurePosixPath(part.filename.replace("\\", "/")).name] = target
            else:
                await part.release()
    except (ValueError, AssertionError) as exc:
        raise ProblemError(422, "body", f"the form cannot be read: {exc}") from exc
    return text.replace("\r\n", "\n"), sent


async def _text(part: BodyPartReader) -> str:
    data = bytearray()
    while piece := await part.read_chunk(1 << 16):
        data += piece
        if len(data) > MAX_BYTES:
            raise ProblemError(413, "too_large", f"a manifest holds at most {MAX_BYTES} bytes")
    return data.decode(errors="replace")


async def _file(part: BodyPartReader, target: Path, left: int) -> int:
    with target.open("wb") as file:
        while piece := await part.read_chunk(1 << 18):
            left -= len(piece)
            if left < 0:
                text = "the files are larger than one upload may be (MLMS_WEB_UPLOAD_BYTES)"
                raise ProblemError(413, "too_large", text)
            file.write(piece)
    return left


# ------------------------------------------------------------------ it is withdrawn


async def withdraw(request: web.Request) -> web.Response:
    """Withdraw one version of a model or a dataset; what was measured with it stays."""
    Page.needs(request, "publish")
    given = await Page.form(request)
    client, name = Page.state(request).client, request.match_info["name"]
    reference = f"{name}@{given.get('version', '')[:100]}"
    what = request.match_info["what"]
    if what == "models":
        await client.unpublish(reference, framework=given.get("framework", "")[:100])
    else:
        await client.unpublish_dataset(reference)
    raise web.HTTPSeeOther(f"/{what}")
