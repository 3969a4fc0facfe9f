"""The pages of a study's site: one a group of figures, one a model, and what they rest on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from analysis.answers import Answer
from mlmodelscope import plots_study, study_words
from mlmodelscope.grid_run import Cell
from mlmodelscope.page import Cards, Code, Page, Part, Plot, Words
from mlmodelscope.report_setting import environment_of
from mlmodelscope.site_html import File, Table
from mlmodelscope.study_cells import Material
from mlmodelscope.study_run import started_of
from mlmodelscope.tables import Column

HIDDEN = {"na", "analysis", "start_ns", "index", "evaluation"}
MOST_ROWS = 60
"""A page shows so many rows of a figure; its files hold all."""
GROUPS = (
    (
        "throughput",
        "Throughput",
        "How many inputs a second, at which batch size, on which system.",
        ("peak-throughput", "throughput-by-system"),
    ),
    (
        "latency",
        "Latency",
        "How long a predict takes as the batch grows; the axis of latency is logarithmic.",
        ("latency-by-batch", "normalised-latency"),
    ),
    (
        "tradeoffs",
        "Accuracy and cost",
        "How right, how fast, with how much energy, for which price.",
        ("accuracy", "tradeoffs"),
    ),
    (
        "bounds",
        "Bounds",
        "What limits the models, their slowest layers and kernels: memory or compute. Of traces "
        "at the batch size of each model's peak.",
        ("bounds",),
    ),
    (
        "layers",
        "Layers",
        "Where each framework spends a predict, layer after layer on one axis. Of traces at the "
        "batch size of each model's peak.",
        ("layers",),
    ),
)
OF_ALL = ("peak-throughput", "layers")
"""Figures whose notes speak of all models at once."""
OF_MODEL = ("peak-throughput", "latency-by-batch", "accuracy", "tradeoffs", "bounds", "layers")


@dataclass(frozen=True)
class Site:
    """What the pages are made of. command: how the study is run again."""

    material: Material
    found: Mapping[str, Answer]
    command: str

    @property
    def title(self) -> str:
        """What the study is called."""
        return self.material.done.study.shown_title

    @property
    def models(self) -> list[str]:
        """Every model of the study, in the order of its points."""
        return list(dict.fromkeys(point.place.model for point in self.material.points))


def files_of(site: Site) -> tuple[list[File], list[File]]:
    """The pages that every page links to, and those of single models."""
    own: list[File] = []
    for model in site.models:
        name = study_words.slug(model, (file.name[6:-5] for file in own))
        own.append(_of_model(site, model, f"model-{name}.html"))
    groups = [_group(site, own, *group) for group in GROUPS]
    menu = [_index(site, own, groups), *groups, _systems(site)]
    return menu, own


# ---------------------------------------------------------------- the pages


def _index(site: Site, own: Sequence[File], groups: Sequence[File]) -> File:
    material, peaks = site.material, site.found["peak-throughput"]
    page = Page(site.title, _about(site))
    page.add("In short", [*_warnings(site), Cards([*_cards(site)])])
    links = {file.link: file.name for file in (*own, *groups)}
    told = [{"model": model} for model in site.models]
    page.add("Peak throughput of each model", figure_parts(peaks, links))
    rows = [{"page": file.link, "what": file.page.about} for file in groups]
    page.add(
        "What there is to see",
        [
            Table(rows, [Column("page"), Column("what")], hrefs=links),
            Table(told, [Column("model")], "Every model", hrefs=links),
        ],
    )
    page.add("Measure it again", [*_again(site, material)])
    return File("index.html", "Overview", page, {"Peak throughput of each model": _links(peaks)})


def _about(site: Site) -> str:
    starts = [s.at_ns for cell in site.material.done.cells if (s := started_of(cell)) is not None]
    day = "%Y-%m-%d %H:%M UTC"
    when = time.strftime(day, time.gmtime(min(starts) / 1e9)) if starts else ""
    until = time.strftime(day, time.gmtime(max(starts) / 1e9)) if starts else ""
    span = when if when == until else f"{when} to {until}"
    return f"A study by MLModelScope, measured {span}" if span else "A study by MLModelScope"


def _warnings(site: Site) -> Iterator[Part]:
    points, done = site.material.points, site.material.done
    untrained = dict.fromkeys(p.place.model for p in points if p.weights != "trained")
    if untrained:
        all_of = len(untrained) == len(site.models)
        which = "every model" if all_of else ", ".join(untrained)
        text = f"Weights that are not trained: {which}. Good for timing, never for accuracy."
        yield Words(text, "warning")
    for note in site.found["systems"].notes:
        yield Words(note, "warning")
    failed = [cell for cell in done.cells if cell.problem]
    if failed:
        text = f"{len(failed)} of {len(done.cells)} cells failed: Systems and cells says why."
        yield Words(text, "warning")
    missing = sum(bool(cell.result and cell.result.missing and not cell.problem) for cell in
                  done.cells)  # fmt: skip
    if missing:
        yield Words(f"The record of {missing} cells is not complete: see Systems and cells.",
                    "warning")  # fmt: skip
    for node, why in done.unmeasured.items():
        yield Words(f"{node} did not measure what it can do at most: {why}", "warning")


def _cards(site: Site) -> Iterator[tuple[str, str, str]]:
    points = [point for point in site.material.points if point.latency is not None]
    places = [point.place for point in points]
    frameworks = sorted({place.framework for place in places})
    nodes = sorted({place.node for place in places})
    yield "models", str(len({place.model for place in places})), ""
    yield "frameworks", str(len(frameworks)), ", ".join(frameworks)
    yield "systems", str(len(nodes)), ", ".join(nodes)
    sizes = sorted({point.batch_size for point in points})
    yield "batch sizes", str(len(sizes)), ", ".join(map(str, sizes))
    cells = site.material.done.cells
    right = sum(not cell.problem for cell in cells)
    yield "evaluations", str(right), f"of {len(cells)} that were asked for"


def _group(site: Site, own: Sequence[File], *group: Any) -> File:
    name, link, about, figures = group
    page = Page(f"{link} · {site.title}", about)
    links: dict[str, list[tuple[str, str]]] = {}
    to_models = {file.link: file.name for file in own}
    for figure in figures:
        answer = site.found[figure]
        page.add(answer.title, figure_parts(answer, to_models))
        links[answer.title] = _links(answer)
    return File(f"{name}.html", link, page, links)


def _of_model(site: Site, model: str, name: str) -> File:
    page = Page(f"{model} · {site.title}", "Everything that the study says of this model.")
    links: dict[str, list[tuple[str, str]]] = {}
    for figure in OF_MODEL:
        whole = site.found[figure]
        rows = [row for row in whole.rows if getattr(row, "model", "") == model]
        if rows:
            notes = [] if figure in OF_ALL else whole.notes
            answer = msgspec.structs.replace(whole, rows=rows, notes=notes)
            page.add(answer.title, figure_parts(answer, {}))
            links[answer.title] = _links(answer)
    page.add("Evaluations", [_evaluations(site, model)])
    return File(name, model, page, links)


def _evaluations(site: Site, model: str) -> Part:
    rows = [row for row in site.found["cells"].table() if row["model"] == model]
    names = ("framework", "setting", "node", "batch_size", "part", "state", "problem", "evaluation")
    columns = [
        Column(name.replace("_", " "), name, str, name == "batch_size", optional=True)
        for name in names
    ]
    return Table(rows, columns, "mlmodelscope show ID and mlmodelscope report ID say all of each")


def _systems(site: Site) -> File:
    about = "What it was measured on, and how whole it is."
    page = Page(f"Systems and cells · {site.title}", about)
    systems, cells = site.found["systems"], site.found["cells"]
    page.add(systems.title, figure_parts(systems, {}))
    page.add(cells.title, [*_cells(cells)])
    for title, cell in _environments(site):
        assert cell.result is not None
        page.add(f"Environment of {title}", [*environment_of(list(cell.facts), cell.result)])
    links = {answer.title: _links(answer) for answer in (systems, cells)}
    return File("systems.html", "Systems and cells", page, links)


def _cells(answer: Answer) -> Iterator[Part]:
    """How many of each part were measured; those that were not, with the reason."""
    rows = answer.table()
    counts: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        names = ("model", "framework", "setting", "node")
        count = counts.setdefault(tuple(row[name] for name in names), {n: row[n] for n in names})
        if row["state"] == "measured":
            count[row["part"]] = count.get(row["part"], 0) + 1
        else:
            count["not whole"] = count.get("not whole", 0) + 1
    columns = [Column(name, optional=True) for name in ("model", "framework", "setting", "node")]
    parts = ("sweep", "trace", "dataset", "not whole")
    columns += [Column(name, show=lambda n: str(n or ""), right=True, optional=True)
                for name in parts]  # fmt: skip
    told = [dict.fromkeys(parts, 0) | count for count in counts.values()]
    yield Words(answer.notes[0])
    yield Table(sorted(told, key=lambda row: row["model"]), columns, "Measured cells")
    if wrong := [row for row in rows if row["state"] != "measured"]:
        shown = study_words.columns(answer.name, wrong, HIDDEN)
        yield Table([study_words.cells(row) for row in wrong], shown, "Not measured, or not whole")


def _environments(site: Site) -> Iterator[tuple[str, Cell]]:
    """The first cell of each node, framework and environment."""
    found: dict[str, Cell] = {}
    for cell in site.material.done.sweep:
        if (result := cell.result) is not None and not cell.problem and started_of(cell):
            framework = f"{result.framework} {result.framework_version}"
            own = f", environment {result.environment}" if result.environment != "default" else ""
            found.setdefault(f"{result.node_id}: {framework}{own}", cell)
    yield from sorted(found.items(), key=lambda pair: pair[0])


# ---------------------------------------------------------------- parts of them


def figure_parts(answer: Answer, links: dict[str, str]) -> list[Part]:
    """Its plots, its table, what must be said of it."""
    if answer.unavailable:
        return [Words(f"n/a: {answer.unavailable}")]
    rows = answer.table()
    parts: list[Part] = [Plot(one, title) for title, one in plots_study.figures(answer)]
    shown = _by_kind(rows) if answer.name == "layers" else rows
    shown = shown[:MOST_ROWS]
    same = study_words.alike(rows)
    columns = study_words.columns(answer.name, shown, HIDDEN | same.keys())
    whys = [row["na"] for row in shown]
    cells = [study_words.cells(row) for row in shown]
    mark = "best" if answer.name == "tradeoffs" else ""
    marked = [
        {**texts, "best": row.get("best")} if mark else texts
        for texts, row in zip(cells, shown, strict=True)
    ]
    if mark:
        columns = [one for one in columns if one.field != mark]
    title = " · ".join(same.values())
    parts.append(Table(marked, columns, title, mark=mark, whys=whys, hrefs=links))
    if len(shown) < len(rows) and answer.name != "layers":
        parts.append(Words(f"the first {len(shown)} of {len(rows)} rows", "note"))
    reasons = study_words.reasons(answer.name, rows)
    return [*parts, *(Words(text, "note") for text in (*answer.notes, *reasons))]


def _by_kind(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A stack in short: how much each kind of work takes."""
    about = ("model", "framework", "setting", "node", "batch_size", "kind")
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[name] for name in about)
        kept = found.setdefault(key, {name: row[name] for name in about} | EMPTY | {"na": {}})
        kept["na"] = {**kept["na"], **row["na"]}
        for name in ("latency_ns", "latency_percent"):
            if row[name] is not None:
                kept[name] = (kept[name] or 0.0) + row[name]
        kept["layers"] += row["name"] is not None and row["operator"] != ""
    ordered = sorted(found.values(), key=lambda row: -(row["latency_ns"] or 0.0))
    places = list(dict.fromkeys(key[:5] for key in found))
    return sorted(ordered, key=lambda row: places.index(tuple(row[name] for name in about[:5])))


EMPTY: dict[str, Any] = {"layers": 0, "latency_ns": None, "latency_percent": None}


def _links(answer: Answer) -> list[tuple[str, str]]:
    if answer.unavailable:
        return []
    return [(f"rows/{answer.name}.{ending}", ending.upper()) for ending in ("csv", "json")]


def _again(site: Site, material: Material) -> Iterator[Part]:
    yield Code(site.command)
    done = material.done
    text = "study.yml lies beside this page; what is stored already is not measured again, unless "
    yield Words(f"{text}--again is added.", "note")
    if done.own:
        text = "manifests of one's own lie in models/; the files that they name belong beside them"
        yield Words(text, "note")
    versions = {f"mlmodelscope {node.version}" for node in material.nodes.values() if node.version}
    digests = {
        f"{told.model} {told.model_version} for {told.framework}: {told.model_digest}"
        for cell in done.sweep
        if (told := started_of(cell)) is not None and told.model_digest
    }
    lines = "\n".join([*sorted(versions), *sorted(digests)])
    yield Code(lines, "versions and digests of what was measured")
