"""The commands that show models: the list of them, and everything about one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from rich.markup import escape

from bus.claims import claims_of
from bus.errors import RefusedError
from bus.messages import Fitting, Manifest, ModelInput, ModelOutput, ModelResources, Refused
from manifests.catalog import not_runnable, read
from manifests.runnable import has_code
from mlmodelscope.client import Client
from mlmodelscope.manifest_files import is_file
from mlmodelscope.model_filters import Filters, chosen, shown_size, size_bytes
from mlmodelscope.tables import Column, console, misfits_table, print_json, print_rows, table

NO_NODES = "no_nodes"


async def models(client: Client, model: str, filters: Filters, hidden: bool, output: str) -> int:
    """The known models that a person asks for, one row a version and framework."""
    async with client:
        known = await client.models(model, hidden=hidden)
    rows = [
        {
            "name": manifest.name,
            "version": manifest.version,
            "framework": _framework(manifest),
            "task": manifest.task,
            "weights": manifest.model.weights,
            "size_bytes": size_bytes(manifest),
            "license": manifest.license,
            "samples": len(manifest.samples),
            "note": known.not_runnable.get(f"{manifest.name}@{manifest.version}", ""),
            "visibility": manifest.visibility,
            "owner": manifest.owner,
            "hidden": manifest.hidden,
            "description": manifest.description.strip(),
        }
        for manifest in chosen(known.models, filters)
    ]
    columns = [Column(name) for name in ("name", "version", "framework", "task", "weights")]
    columns.append(Column("size", "size_bytes", shown_size, right=True))
    columns += [Column("license"), Column("samples", right=True), Column("note")]
    print_rows(output, rows, columns, empty="no model is like that: mlmodelscope models")
    return 0


async def model(client: Client, name: str, output: str) -> int:
    """One model: what it is, what it needs, what is claimed of it, and where it would run."""
    async with client:
        if is_file(name):
            manifests = [read(Path(name))]
            fitting = await _fitting(client, manifests[0])
        else:
            manifests = (await client.models(name)).models
            fitting = await _fitting(client, name)
    newest = [m for m in manifests if m.version == _meant(manifests).version]
    if output == "json":
        print_json(_plain(newest, manifests, fitting))
        return 0
    for manifest in newest:
        _print(manifest)
    _print_versions(manifests, newest)
    _print_places(fitting)
    return 0


async def _fitting(client: Client, model: str | Manifest) -> Fitting | Refused:
    """Where it would run; a refusal for want of nodes, or of a runnable version, is shown too."""
    try:
        return await client.fits(model)
    except RefusedError as exc:
        shown = exc.kind in (NO_NODES, "not_runnable") and isinstance(exc.refusal, Refused)
        if shown and isinstance(exc.refusal, Refused):
            return exc.refusal
        raise


def _meant(manifests: list[Manifest]) -> Manifest:
    """The newest that can be run, else the newest."""
    return next((m for m in manifests if not not_runnable(m)), manifests[0])


# ---------------------------------------------------------------- for programs


def _plain(
    newest: list[Manifest], manifests: list[Manifest], fitting: Fitting | Refused
) -> dict[str, Any]:
    places = fitting.places if isinstance(fitting, Fitting) else []
    return {
        "manifests": [msgspec.to_builtins(manifest) for manifest in newest],
        "claims": [msgspec.to_builtins(claims_of(manifest)) for manifest in newest],
        "not_runnable": not_runnable(newest[0]),
        "size_bytes": [size_bytes(manifest) for manifest in newest],
        "versions": list(dict.fromkeys(manifest.version for manifest in manifests)),
        "places": [msgspec.to_builtins(place) for place in places],
        "misfits": [msgspec.to_builtins(misfit) for misfit in fitting.misfits],
        "text": fitting.text if isinstance(fitting, Refused) else "",
    }


# ---------------------------------------------------------------- for people


def _print(manifest: Manifest) -> None:
    out = console()
    title = f"\n[bold]{escape(manifest.name)} {manifest.version}[/] for "
    out.print(title + escape(_framework(manifest)))
    if manifest.description:
        out.print(escape(manifest.description.strip()))
    for name, value in _facts(manifest):
        out.print(f"  {name}: {escape(value)}")
    out.print(table(_tensors(manifest), TENSORS, "\nInputs and outputs"))
    if files := _files(manifest):
        out.print(table(files, [Column("file"), Column("where"), Column("checksum")], "Files"))
    if claims := claims_of(manifest):
        rows = [msgspec.to_builtins(claim) for claim in claims]
        out.print(table([_EMPTY_CLAIM | row for row in rows], CLAIMS, "What its author claims"))


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    model = manifest.model
    facts = [
        ("task", manifest.task),
        ("author", manifest.author),
        ("license", manifest.license),
        ("references", ", ".join(manifest.references)),
        ("precision", manifest.precision),
        ("weights", "" if model.weights == "trained" else f"{model.weights}: for timing only"),
        ("size", shown_size(size_bytes(manifest))),
        ("made by", model.constructor),
        ("requires", ", ".join(model.requires)),
        ("code", "its own, where a node allows it" if has_code(manifest) else ""),
        ("private to", manifest.owner if manifest.visibility == "private" else ""),
        ("cannot be run", not_runnable(manifest)),
    ]
    return [(name, value) for name, value in facts if value]


TENSORS = [Column("what"), Column("name"), Column("type"), Column("size"), Column("description")]
CLAIMS = [
    Column("metric"),
    Column("value", show=lambda x: f"{x:g}", right=True),
    Column("unit"),
    Column("on"),
    Column("batch", "batch_size", lambda size: str(size or ""), right=True),
    Column("source"),
]
_EMPTY_CLAIM = {"unit": "", "on": "", "batch_size": 0, "source": ""}


def _tensors(manifest: Manifest) -> list[dict[str, Any]]:
    tensors: list[tuple[str, ModelInput | ModelOutput]] = [
        *(("input", one) for one in manifest.inputs),
        *(("output", one) for one in manifest.outputs),
    ]
    return [
        {
            "what": what,
            "name": one.name,
            "type": f"{one.type}, {one.parameters.element_type}",
            "size": "×".join("any" if n == -1 else str(n) for n in one.parameters.dimensions),
            "description": one.description,
        }
        for what, one in tensors
    ]


def _files(manifest: Manifest) -> list[dict[str, Any]]:
    """What has to be fetched, under the name of the field that says so."""
    model: ModelResources = manifest.model
    files = [("graph", model.graph_path, model.graph_checksum)]
    files.append(("weights", model.weights_path, model.weights_checksum))
    files.append(
        ("archive" if model.is_archive else "base", model.base_url, model.archive_checksum)
    )
    for one in manifest.inputs:
        parameters = one.parameters
        files.append(("tokenizer", parameters.tokenizer, parameters.tokenizer_checksum))
    for output in manifest.outputs:
        named = output.parameters
        files.append(
            (
                "labels",
                named.url or named.features_url,
                named.checksum or named.features_checksum,
            )
        )
    files += [("sample", sample.url, sample.checksum) for sample in manifest.samples]
    return [
        {"file": what, "where": where, "checksum": checksum[:19] + ("…" if checksum[19:] else "")}
        for what, where, checksum in files
        if where
    ]


def _print_versions(manifests: list[Manifest], newest: list[Manifest]) -> None:
    others = list(dict.fromkeys(m.version for m in manifests if m not in newest))
    if others:
        console().print(f"other versions: {', '.join(others)}")


def _print_places(fitting: Fitting | Refused) -> None:
    out = console()
    if isinstance(fitting, Refused):
        out.print(f"[yellow]{escape(fitting.text)}[/]")
        return
    if fitting.places:
        rows = [msgspec.to_builtins(place) for place in fitting.places]
        columns = [
            Column("node", "node_id"),
            Column("framework"),
            Column("version", "framework_version"),
            Column("environment"),
        ]
        out.print(table(rows, columns, "Where it would run, the first choice first"))
    if fitting.misfits:
        out.print("Where it would not:")
        out.print(misfits_table(fitting.misfits))


def _framework(manifest: Manifest) -> str:
    return f"{manifest.framework.name} {manifest.framework.version}".strip()
