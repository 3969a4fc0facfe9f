"""The command pitfall: run a baseline (twice) and one change of it, and print what that did."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from rich.markup import escape

from analysis.comparison import shallowest
from analysis.pitfall_effect import (
    ColdWarm,
    Effect,
    StatisticRow,
    cold_warm,
    effect,
    statistics_of_one_run,
)
from analysis.proportions import Share
from bus.errors import InputError
from bus.messages import DatasetManifest, Manifest, Message, ModelOpened, RunMeasured
from mlmodelscope import dataset_files, manifest_files
from mlmodelscope.client import Client
from mlmodelscope.evaluating import give_up, progress_bar
from mlmodelscope.pitfalls import PITFALLS, Change, Pitfall, Specification, changed_fields, shifted
from mlmodelscope.tables import Column, console, ms, print_csv, print_json, print_rows, table

COLD_TIMES = 10
"""How often the model is opened anew to see its first call."""
WARM_AFTER = 5
WARM_QUERIES = 20


@dataclass(frozen=True)
class Asked:
    """What the experiment is made with."""

    model: str
    dataset: str
    limit: int = 0
    batch_size: int = 32
    framework: str = ""
    node: str = ""
    environment: str = ""
    settings: dict[str, str | int] | None = None
    threads: int = 0
    timeout_s: float = 600.0


def show_list(output: str) -> int:
    """Every pitfall, the field that it changes, and what is to be expected."""
    rows = [
        {"pitfall": one.name, "changes": one.field, "expected": one.expected} for one in PITFALLS
    ]
    print_rows(output, rows, [Column("pitfall"), Column("changes"), Column("expected")])
    return 0


async def run_pitfall(client: Client, pitfall: Pitfall, asked: Asked, output: str) -> int:
    """Run what the pitfall needs; print the baseline, the altered run and the difference."""
    with progress_bar() as progress:
        task = progress.add_task("starting", total=None)

        def tell(text: str) -> None:
            progress.update(task, description=text)

        async with client:
            baseline = await specification(client, asked)
            if pitfall.name == "labels":
                baseline = await _with_shifted_labels(client, baseline)
            altered = pitfall.edit(baseline)
            if pitfall.kind == "cold":
                found: Any = await _cold(client, baseline, asked, tell)
            elif pitfall.kind == "statistic":
                tell("running the baseline")
                found = _statistics(await _run(client, baseline, asked))
            else:
                found = await _both(client, (baseline, altered), asked, tell)
    _print(pitfall, changed_fields(baseline, altered), found, output)
    return 0


async def specification(client: Client, asked: Asked) -> Specification:
    """The model and the dataset as they are known, or as their files say."""
    return Specification(
        manifest=await _manifest(client, asked),
        dataset=await _dataset(client, asked.dataset),
        framework=asked.framework,
        settings=dict(asked.settings or {}),
    )


async def _with_shifted_labels(client: Client, spec: Specification) -> Specification:
    """The labels that the pitfall needs, on the bus."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "labels.txt"
        path.write_text("\n".join(shifted(spec.dataset)) + "\n")
        return replace(spec, shifted_labels=await client.send_file(path))


async def _manifest(client: Client, asked: Asked) -> Manifest:
    if manifest_files.is_file(asked.model):
        return await client.manifest(Path(asked.model))
    found = (await client.models(asked.model, hidden=True)).models
    name = asked.framework.partition("@")[0]
    fitting = [one for one in found if name in ("", one.framework.name)]
    if not fitting:
        has = ", ".join(sorted({one.framework.name for one in found})) or "no framework"
        text = f"unknown model {asked.model!r}" if not found else f"{asked.model} is for {has}"
        raise InputError(f"{text}; see `mlmodelscope models`")
    ours = [one for one in fitting if one.framework.name == "onnxruntime"]
    return (ours or fitting)[0]


async def _dataset(client: Client, name: str) -> DatasetManifest:
    if dataset_files.is_own(name):
        return await client.dataset(Path(name))
    found = await client.datasets(name)
    if not found:
        names = ", ".join(sorted({each.name for each in await client.datasets()}))
        raise InputError(f"--dataset {name!r}: there is no such dataset; there is: {names}")
    return found[0]


# ---------------------------------------------------------------- what is run


async def _both(
    client: Client,
    specs: tuple[Specification, Specification],
    asked: Asked,
    tell: Callable[[str], None],
) -> Effect:
    runs = []
    for text, spec in (
        ("running the baseline", specs[0]),
        ("running the altered one", specs[1]),
        ("running the baseline again", specs[0]),
    ):
        tell(text)
        runs.append(await _run(client, spec, asked))
    baseline, altered, again = runs
    return effect(baseline, altered, again)


async def _run(client: Client, spec: Specification, asked: Asked) -> Sequence[Message]:
    """One pass over the dataset as the specification says."""
    evaluation = await client.evaluate(
        spec.manifest,
        dataset=spec.dataset,
        limit=asked.limit,
        batch_sizes=[asked.batch_size],
        warmup=spec.warmup,
        framework=spec.framework,
        node=asked.node,
        environment=asked.environment,
        settings=spec.settings,
        threads=asked.threads,
        timeout_s=asked.timeout_s,
    )
    return await _ended(client, evaluation)


async def _cold(
    client: Client, spec: Specification, asked: Asked, tell: Callable[[str], None]
) -> ColdWarm:
    """The model opened again and again; of each time the first call, and later ones."""
    cold: list[int] = []
    warm: list[int] = []
    opened: list[int] = []
    for number in range(COLD_TIMES):
        tell(f"opening the model, {number + 1} of {COLD_TIMES}")
        # Another content is another model to a node: it is not found open.
        attributes = {**spec.manifest.attributes, "opened": f"cold-start {number}"}
        manifest = msgspec.structs.replace(spec.manifest, attributes=attributes)
        evaluation = await client.evaluate(
            manifest,
            dataset=spec.dataset,
            limit=WARM_AFTER + WARM_QUERIES,
            batch_sizes=[1],
            warmup=0,
            framework=spec.framework,
            node=asked.node,
            environment=asked.environment,
            settings=spec.settings,
            threads=asked.threads,
            timeout_s=asked.timeout_s,
        )
        facts = await _ended(client, evaluation)
        times = [ns for f in facts if isinstance(f, RunMeasured) for ns in f.durations_ns]
        cold += times[:1]
        warm += times[WARM_AFTER:]
        opened += [f.duration_ns for f in facts if isinstance(f, ModelOpened) and not f.cached]
    return cold_warm(cold, warm, opened)


async def _ended(client: Client, evaluation: Any) -> Sequence[Message]:
    try:
        await evaluation.result()
    except BaseException:
        await give_up(client, evaluation)
        raise
    facts: Sequence[Message] = evaluation.facts
    return facts


def _statistics(facts: Sequence[Message]) -> list[StatisticRow]:
    run = next(iter(shallowest(facts).values()), None)
    return statistics_of_one_run(run.latencies_ns if run is not None else [])


# ---------------------------------------------------------------- what is printed

ACCURACY = [
    Column("figure"),
    Column("baseline", right=True),
    Column("altered", right=True),
    Column("difference", right=True),
]
STATISTICS = [
    Column("statistic"),
    Column("ms", "value_ns", ms, right=True),
    Column("off the median", "off_percent", lambda x: f"{x:+.1f} %", right=True),
]


def _print(pitfall: Pitfall, changes: Sequence[Change], found: Any, output: str) -> None:
    data = msgspec.to_builtins(found)
    changed = msgspec.to_builtins(changes)
    if output == "json":
        print_json({"pitfall": pitfall.name, "changed": changed, "found": data})
    elif output == "csv":
        rows = data if isinstance(data, list) else [data]
        print_csv([{"pitfall": pitfall.name, **row} for row in rows])
    else:
        out = console()
        out.print(f"\n[bold]{pitfall.name}[/]: {escape(pitfall.expected)}")
        for change in changes:
            before, after = _short(change.before), _short(change.after)
            out.print(escape(f"changed: {change.field}: {before} -> {after}"))
        SHOW[type(found)](found)
    sys.stdout.flush()


def _print_effect(found: Effect) -> None:
    out = console()
    rows = [
        _accuracy("top-1", found.baseline_top1, found.altered_top1, found.delta_top1),
        _accuracy("top-5", found.baseline_top5, found.altered_top5, found.delta_top5),
    ]
    if (row := found.latency) is not None:
        times = f"×{row.b / row.a:.3f} {row.verdict}" if row.ratio else row.note
        rows.append(
            {"figure": "p50 ms", "baseline": ms(row.a), "altered": ms(row.b), "difference": times}
        )
    out.print(table(rows, ACCURACY))
    out.print(
        f"{found.flips} of {found.items} answers change: {found.broken} broken, "
        f"{found.mended} mended; p = {found.p_value:.3g} (exact McNemar)"
    )
    if found.reproduces is not None:
        same = "the same, number by number" if found.reproduces else "[red]not the same[/]"
        out.print(f"the baseline run twice is {same}")
    out.print(f"[bold]{escape(found.text)}[/]")


def _print_cold(found: ColdWarm) -> None:
    out = console()
    rows = [
        {"calls": name, "n": len(times), "p50": times[(len(times) - 1) // 2], "low": times[0],
         "high": times[-1]}
        for name, times in (
            ("first", found.cold_ns), ("later", found.warm_ns), ("opening", found.opened_ns)
        )
        if times
    ]  # fmt: skip
    columns = [Column("calls"), Column("n", right=True)]
    columns += [
        Column(title, name, ms, right=True)
        for title, name in (("p50 ms", "p50"), ("fastest ms", "low"), ("slowest ms", "high"))
    ]
    out.print(table(rows, columns))
    out.print("first: the first call after the model was opened, its framework already loaded")
    out.print(f"[bold]{escape(found.text)}[/]")


def _print_statistics(found: list[StatisticRow]) -> None:
    console().print(table([msgspec.to_builtins(row) for row in found], STATISTICS))
    console().print("one run, one set of times: say which figure you mean")


SHOW: dict[type, Callable[[Any], None]] = {
    Effect: _print_effect,
    ColdWarm: _print_cold,
    list: _print_statistics,
}


def _accuracy(name: str, before: Share, after: Share, delta: float) -> dict[str, Any]:
    return {
        "figure": name,
        "baseline": _share(before),
        "altered": _share(after),
        "difference": f"{100 * delta:+.2f} points",
    }


def _share(found: Share) -> str:
    return f"{100 * (found.share or 0):.2f} % ({found.right} of {found.of})"


def _short(value: Any) -> str:
    """A value in a few words; what is not said has its default."""
    if value is None:
        return "its default"
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"
