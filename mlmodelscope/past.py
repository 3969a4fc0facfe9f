"""Which past evaluations a person means: names with ranges of versions, and times in words."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime

from bus.errors import InputError
from bus.messages import History, HistoryRow, ListHistory
from manifests.version import meets, parse_reference
from mlmodelscope.client import Client

PAGE = 500
"""What the collector gives at once."""
MOST_LOOKED_AT = 5_000
"""Evaluations that are looked at for one page."""
LATEST_NS = 2**63 - 1
"""Of the year 2262: what is later is as far away."""
_AGO = re.compile(r"(\d{1,6}) ?(s|min|h|d|w)")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Past:
    """What a person asks the history for; what is empty asks for nothing.

    model, framework: `name` or `name@range`. dataset: `*` is any. since, until: `7d`, `12h`, or a
    date as 2026-03-31 (or 2026-03-31T18:00), in this machine's time.
    """

    model: str = ""
    framework: str = ""
    node: str = ""
    user: str = ""
    state: str = ""
    dataset: str = ""
    since: str = ""
    until: str = ""
    batch_size: int = 0
    """Those that measured it."""


async def page_of(client: Client, past: Past, before_ns: int, limit: int) -> History:
    """A page of them, newest first; InputError for a range or a time that cannot be read.

    Of a range of versions or a batch size the page may be short of `limit`, also of all, where few
    of many fit: `next_before_ns` then goes on from the last that was looked at.
    """
    model, models = _reference(past.model)
    framework, frameworks = _reference(past.framework)
    until_ns = _time_ns("until", past.until)
    before_ns = min(filter(None, (before_ns, until_ns)), default=0)
    narrowed = bool(models or frameworks or past.batch_size)
    limit = max(1, limit)
    found: list[HistoryRow] = []
    looked_at = 0
    while True:
        page = await client.history_page(
            ListHistory(
                model=model,
                framework=framework,
                node=past.node,
                user=past.user,
                state=past.state,
                dataset=past.dataset,
                since_ns=_time_ns("since", past.since),
                before_ns=before_ns,
                limit=PAGE if narrowed else min(limit, PAGE),
            )
        )
        looked_at += len(page.rows)
        for row in page.rows:
            if not meets(row.model_version, models) or not meets(row.framework_version, frameworks):
                continue
            if past.batch_size and all(run.batch_size != past.batch_size for run in row.runs):
                continue
            if len(found) == limit:
                return History(rows=found, next_before_ns=found[-1].at_ns)
            found.append(row)
        before_ns = page.next_before_ns
        if not before_ns or (len(found) == limit and not narrowed) or looked_at >= MOST_LOOKED_AT:
            return History(rows=found, next_before_ns=before_ns)


def _reference(text: str) -> tuple[str, str]:
    return parse_reference(text) if text.strip() else ("", "")


def _time_ns(name: str, text: str) -> int:
    """A moment, 0 where none is given."""
    if not (text := text.strip()):
        return 0
    if match := _AGO.fullmatch(text):
        return max(1, time.time_ns() - int(match[1]) * _SECONDS[match[2]] * 10**9)
    try:
        return min(max(1, int(datetime.fromisoformat(text).timestamp() * 1e9)), LATEST_NS)
    except (ValueError, OverflowError, OSError) as exc:
        wanted = "expected a time ago (30min, 12h, 7d) or a date (2026-03-31)"
        raise InputError(f"{name} {text[:40]!r}: {wanted}") from exc
