"""python -m benchmarks reliability [NAME …] [--output table|json|markdown] [--write FILE]

Kills every part of a running system under load, and counts what was lost. Leaves with 1 when
anything was. --write puts the table between the marks of a page: docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import environment
from benchmarks.deaths.death import Outcome, Strike, strike
from benchmarks.deaths.grounds import GROUNDS
from benchmarks.report import WIDTH
from bus import loop
from bus.errors import MLModelScopeError

BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
HEADINGS = {
    "killed": "what was killed",
    "load": "in hand",
    "back_s": "back at work, s",
    "ended_s": "all in hand ended, s",
    "true_s": "nodes' list true, s",
    "evaluations": "accepted",
    "failed": "failed, as they must",
    "run_twice": "run twice, one accepted",
    "lost": "lost",
    "doubled": "with two results",
    "spans": "spans",
    "spans_lost": "spans lost",
    "spans_doubled": "spans doubled",
    "refused": "told to ask again (longest, s)",
    "held": "all well?",
}
Row = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    parser = _parser()
    asked = parser.parse_args(arguments)
    known = {name for ground in GROUNDS for name in (ground.name, *ground.strikes)}
    if unknown := sorted(set(asked.names) - known):
        parser.error(f"no death {unknown[0]!r}; there is: {', '.join(sorted(known))}")
    described = environment.describe()
    try:
        rows = loop.run(measured(set(asked.names)))
    except MLModelScopeError as exc:
        print(f"{exc.kind}: {exc}", file=sys.stderr)
        return 1
    text = markdown(rows, described)
    if asked.write is not None:
        write(asked.write, text)
    if asked.output == "json":
        print(json.dumps({"environment": described, "rows": rows}, ensure_ascii=False))
    elif asked.output == "markdown":
        print(text)
    else:
        show(rows, described)
    return int(any(row["faults"] for row in rows))


async def measured(names: set[str]) -> list[Row]:
    """A row for each death that is asked for; of what cannot be done here, the reason."""
    rows: list[Row] = []
    for ground in GROUNDS:
        wanted = [n for n in ground.strikes if not names or names & {n, ground.name}]
        if not wanted:
            continue
        if why_not := ground.why_not():
            rows += [{"name": name, "skipped": why_not, "faults": []} for name in wanted]
            continue
        async with ground.begin() as (system, strikes):
            for blow in strikes:
                if blow.name not in wanted:
                    continue
                if why_not := blow.why_not():
                    rows.append({"name": blow.name, "skipped": why_not, "faults": []})
                    continue
                rows.append(_row(blow, await strike(system, blow)))
                print(f"{blow.name}: {rows[-1]}", file=sys.stderr, flush=True)
    return rows


def _row(blow: Strike, outcome: Outcome) -> Row:
    account, faults = outcome.account, outcome.faults(blow)
    told = len(outcome.unanswered)
    return {
        "name": blow.name,
        "killed": blow.what,
        "load": outcome.in_hand,
        "back_s": round(outcome.back_s, 1),
        "ended_s": round(outcome.ended_s, 1),
        "true_s": round(outcome.true_s, 1),
        "evaluations": account.evaluations,
        "failed": sum(account.failed.values()),
        "run_twice": account.run_twice,
        "lost": len(account.lost),
        "doubled": len(account.doubled),
        "spans": account.spans,
        "spans_lost": account.spans_lost,
        "spans_doubled": account.spans_doubled,
        "refused": f"{told} ({outcome.slowest_no_s:.1f})" if told else "0",
        "held": "no" if faults else "yes",
        "faults": faults,
    }


def markdown(rows: Sequence[Row], described: dict[str, str]) -> str:
    """The table of the page, below what it was measured on."""
    lines = [f"- {name}: {text}" for name, text in described.items()]
    lines += ["", f"| {' | '.join(HEADINGS.values())} |", "|" + "---|" * len(HEADINGS)]
    for row in rows:
        cells = [str(row[key]) for key in HEADINGS] if "killed" in row else _not_done(row)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _not_done(row: Row) -> list[str]:
    return [row["name"], f"n/a: {row['skipped']}", *[""] * (len(HEADINGS) - 2)]


def write(page: Path, text: str) -> None:
    """Put the table between the marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page} has no {BEGIN.strip()} … {END.strip()} to write between")
    page.write_text(f"{before}{BEGIN}{text}{END}{after}")


def show(rows: Sequence[Row], described: dict[str, str]) -> None:
    """For people at a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 2 * WIDTH
    for name, text in described.items():
        console.print(f"{name:<12} {text}", markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in HEADINGS.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*([str(row[key]) for key in HEADINGS] if "killed" in row else _not_done(row)))
    console.print(table)
    for row in rows:
        for fault in row["faults"]:
            console.print(f"{row['name']}: {fault}", markup=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks reliability",
        description="Kills every part of a running system under load, and counts what was lost.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="deaths, or groups of them")
    parser.add_argument("--output", choices=("table", "json", "markdown"), default="table")
    parser.add_argument("--write", type=Path, metavar="FILE", help="a page to put the table into")
    return parser
