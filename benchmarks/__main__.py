"""python -m benchmarks [NAME …] [--quick] [--seconds S] [--output table|json]
python -m benchmarks reliability …

Leaves with 1 when a budget is not held, 0 otherwise (a --quick run judges nothing).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace

from benchmarks import (
    accuracy,
    analyses,
    assembly,
    cold,
    comparing,
    environment,
    fleet,
    one_evaluation,
    overhead,
    preprocess,
    reliability,
    report,
    resolve,
    scenarios,
    soak,
    spans,
    tracing,
    web,
)
from benchmarks.effort import QUICK, Effort
from benchmarks.report import Result
from bus import loop
from bus.errors import MLModelScopeError

BENCHMARKS: dict[str, Callable[[Effort], Awaitable[Result]]] = {
    "overhead": overhead.run,
    "tracing": tracing.run,
    "evaluation": one_evaluation.run,
    "cold": cold.run,
    "spans": spans.run,
    "assembly": assembly.run,
    "analyses": analyses.run,
    "soak": soak.run,
    "preprocess": preprocess.run,
    "resolve": resolve.run,
    "accuracy": accuracy.run,
    "fleet": fleet.run,
    "scenarios": scenarios.run,
    "comparing": comparing.run,
    "web": web.run,
}
SHOW = {"table": report.show_table, "json": report.show_json}


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["reliability"]:  # no comparison of ours with theirs: a table of its own
        return reliability.main(given[1:])
    parser = _parser()
    asked = parser.parse_args(given)
    if unknown := [name for name in asked.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there is: {', '.join(BENCHMARKS)}")
    effort = QUICK if asked.quick else Effort()
    if asked.seconds is not None:
        effort = replace(effort, limit_s=asked.seconds, soak_s=asked.seconds)
    described = environment.describe()  # before: the load that we make ourselves is not of interest
    if asked.quick:
        described["effort"] = "quick: it runs, and that is all that these numbers say"
    try:
        results = loop.run(_run(asked.names or list(BENCHMARKS), effort))
    except MLModelScopeError as exc:
        print(f"{exc.kind}: {exc}", file=sys.stderr)
        return 1
    if asked.quick:
        results = report.unjudged(results)
    SHOW[asked.output](results, described)
    rows = [row for result in results.values() for row in result.rows]
    return int(any(row.held == "no" for row in rows))


async def _run(names: list[str], effort: Effort) -> dict[str, Result]:
    return {name: await BENCHMARKS[name](effort) for name in names}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What the system costs, beside its peers."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="only see that it runs")
    parser.add_argument(
        "--seconds", type=float, help="limit of one comparison of latencies, and length of the soak"
    )
    parser.add_argument("--output", choices=list(SHOW), default="table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
