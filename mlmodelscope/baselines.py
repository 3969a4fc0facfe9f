"""The command compare --baseline: one evaluation against the stored history of its like."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from rich.markup import escape

from analysis.baseline import BaselineRow, Point, against_history
from analysis.comparability import ALIASES, Gate, gate
from analysis.comparison import Wanted, ended, shallowest, title
from analysis.latency import percentile
from bus.errors import InputError
from bus.messages import HistoryRow, JobStarted, Message
from mlmodelscope.client import Client
from mlmodelscope.evaluating import progress_bar
from mlmodelscope.exits import NOT_COMPARABLE, OK, WORSE
from mlmodelscope.tables import Column, console, ms, print_csv, print_json, table

LIMIT = 60
"""Earlier evaluations that are looked at."""
MAY_CHANGE = ("model", "framework", "conditions")
"""What may be new in a new build, without being asked about: then it is the only thing."""
ID = re.compile(r"[0-9a-f]{4,32}|last")
Facts = Sequence[Message]

COLUMNS = [
    Column("batch", "batch_size", right=True),
    Column("p50 ms", "median_ns", ms, right=True),
    Column("normal p50 ms", "normal_median_ns", ms, right=True),
    Column("from", "normal_low_ns", ms, right=True),
    Column("to", "normal_high_ns", ms, right=True),
    Column("runs", "normal", right=True),
    Column("verdict"),
]


@dataclass(frozen=True)
class Against:
    """Which history: of a model's name, or up to an evaluation's id; by: of one user only."""

    baseline: str
    by: str = ""


async def judge(client: Client, name: str, against: Against, wanted: Wanted, output: str) -> int:
    """Hold an evaluation against its history; WORSE where it is slower than normal."""
    with progress_bar() as progress:
        task = progress.add_task("fetching the history", total=None)
        async with client:
            new_id, new, _ = await client.stored(name)
            rows = await _history(client, against, ended(new), wanted.across)
            progress.update(task, total=len(rows))
            history: list[Facts] = []
            for row in rows:
                history.append((await client.stored(row.evaluation_id))[1])
                progress.advance(task)
    history = [one for one in history if _is_like(one, new, wanted.across)] or history
    newest = history[-1]
    checked = gate(newest, new, wanted.across)
    if checked.inferred and checked.across not in MAY_CHANGE:
        checked = gate(newest, new, "conditions")
    alike = [facts for facts in history if not _unasked(gate(newest, facts, "conditions"))]
    judged = [] if _unasked(checked) and not wanted.force else _rows(alike, new, wanted)
    _print(new, checked, judged, output)
    if not judged:
        return NOT_COMPARABLE
    return WORSE if any(row.verdict == "slower" for row in judged) else OK


async def _history(
    client: Client, against: Against, new: JobStarted, across: str
) -> list[HistoryRow]:
    """Finished evaluations of its like before the new one, the oldest first.

    Of the same framework, node and dataset: another one's figures are no history of this, unless
    just that was asked about.
    """
    baseline = against.baseline
    new_id, upto_ns, model = new.evaluation_id, None, baseline
    if ID.fullmatch(baseline):
        _, facts, _ = await client.stored(baseline)
        started = next((f for f in facts if isinstance(f, JobStarted)), None)
        if started is None:
            raise InputError(f"--baseline {baseline}: nothing ran in it; name one that finished")
        model, upto_ns = started.model, started.at_ns
    like = {} if across == "framework" else {"framework": new.framework}
    like |= {} if ALIASES.get(across, across) == "system" else {"node": new.node_id}
    like |= {"user": against.by} if against.by else {}
    rows = await client.history(model=model, state="finished", limit=LIMIT, **like)
    at_ns = next((row.at_ns for row in rows if row.evaluation_id == new_id), None)
    earlier = [
        row
        for row in rows
        if row.evaluation_id != new_id
        and (at_ns is None or row.at_ns < at_ns)
        and (upto_ns is None or row.at_ns <= upto_ns)
        and row.runs
        and (row.dataset == new.dataset or across == "dataset")
    ]
    if not earlier:
        where = "".join(f", {name} {value}" for name, value in like.items())
        text = f"--baseline {baseline}: no finished evaluation of {model}{where}"
        raise InputError(
            f"{text} before {new_id[:8]}; run some, or name a model (`mlmodelscope history`)"
        )
    return earlier[::-1]


def _is_like(earlier: Facts, new: Facts, across: str) -> bool:
    """Whether it ran as the new one did: only such a run says what is normal for that."""
    found = gate(earlier, new, across or "conditions").differences
    return all(each.asked or each.aspect in MAY_CHANGE for each in found)


def _unasked(found: Gate) -> bool:
    """Whether more differs than was asked about; how busy machines were is a history's own."""
    return any(not each.asked and each.aspect != "conditions" for each in found.differences)


def _rows(history: Sequence[Facts], new: Facts, wanted: Wanted) -> list[BaselineRow]:
    points = [_points(facts) for facts in history]
    return [
        against_history(size, [p[size] for p in points if size in p], point, wanted.tolerance)
        for size, point in sorted(_points(new).items())
    ]


def _points(facts: Facts) -> dict[int, Point]:
    started = next(f for f in facts if isinstance(f, JobStarted))
    return {
        size: Point(
            evaluation_id=started.evaluation_id,
            at_ns=started.at_ns,
            median_ns=float(percentile(sorted(run.latencies_ns), 50)),
        )
        for size, run in shallowest(facts).items()
    }


def _print(new: Facts, checked: Gate, rows: Sequence[BaselineRow], output: str) -> None:
    told: list[dict[str, Any]] = [msgspec.to_builtins(row) for row in rows]
    if output == "json":
        print_json({"gate": msgspec.to_builtins(checked), "baseline": told})
    elif output == "csv":
        print_csv(told)
    else:
        out = console()
        started = next(f for f in new if isinstance(f, JobStarted))
        out.print(f"\n[bold]{escape(title(started))}[/] against its history")
        if not rows:
            out.print(f"[bold yellow]no verdict[/]: {escape(checked.text)}")
        else:
            out.print(table(told, COLUMNS))
        for row in rows:
            out.print(f"batch {row.batch_size}: {row.text}")
            if row.changes:
                out.print(f"  the history changed at {', '.join(e[:8] for e in row.changes)}")
            out.print(f"  {_alarms(row)}")
    sys.stdout.flush()


def _alarms(row: BaselineRow) -> str:
    found = row.false_alarms
    if found.share is None or found.low is None or found.high is None:
        return "false alarms: not measured yet; needs more than 5 runs of the same"
    reach = f"95 % {100 * found.low:.0f}–{100 * found.high:.0f} %"
    return (
        f"false alarms: {found.right} of {found.of} ({reach}), each normal run judged against "
        "those before it"
    )
