"""Which past evaluations are meant: times in words, ranges of versions, pages of them."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from bus.errors import InputError
from mlmodelscope import past
from mlmodelscope.client import Client

DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize(
    ("text", "ago_ns"), [("7d", 7 * DAY_NS), ("12 h", DAY_NS // 2), ("90min", DAY_NS // 16)]
)
def test_a_time_ago(text: str, ago_ns: int) -> None:
    assert abs(time.time_ns() - ago_ns - past._time_ns("since", text)) < 10**9


def test_a_date_is_of_this_machines_time() -> None:
    wanted = int(datetime(2026, 3, 31, 18).timestamp()) * 10**9
    assert past._time_ns("since", "2026-03-31T18:00") == wanted
    assert past._time_ns("since", " ") == 0


def test_far_times_are_as_far_as_the_store_can_count() -> None:
    """Nanoseconds since 1970 reach 2**63 in the year 2262."""
    assert past._time_ns("since", "2999-01-01") == 2**63 - 1
    assert past._time_ns("since", "999999w") == 1 == past._time_ns("since", "1900-01-01")


@pytest.mark.parametrize("text", ["yesterday", "7", "-3d", "2026-13-01", "9" * 30 + "d"])
def test_what_is_no_time_is_said(text: str) -> None:
    with pytest.raises(InputError, match="expected a time ago"):
        past._time_ns("since", text)


async def test_the_history_is_asked_by_ranges_and_times(home: Path, mlms) -> None:  # type: ignore[no-untyped-def]
    async with Client.local(home, user="historian") as client:
        for _ in range(2):
            await (await client.evaluate("MNIST-CNN", runs=10, threads=1)).result()
        all_of_it = past.Past(model="mnist-cnn@^1", user="Historian", since="1h")
        (new, old) = (await past.page_of(client, all_of_it, 0, 9)).rows
        first = await past.page_of(client, all_of_it, 0, 1)
        assert ([row.evaluation_id for row in first.rows]) == [new.evaluation_id]
        second = await past.page_of(client, all_of_it, first.next_before_ns, 1)
        assert ([row.evaluation_id for row in second.rows]) == [old.evaluation_id]
        assert second.next_before_ns == 0
        for changed, count in (
            ({"framework": f"{new.framework}@{new.framework_version.split('+')[0]}"}, 2),
            ({"framework": f"{new.framework}@>=99"}, 0),
            ({"dataset": "*"}, 0),
            ({"until": "1h", "since": ""}, 0),
            ({"state": "failed"}, 0),
        ):
            asked = replace(all_of_it, **changed)
            assert len((await past.page_of(client, asked, 0, 9)).rows) == count, changed
    asked = ("history", "--by", "historian", "--model", "mnist-cnn@^1", "--since", "1h")
    rows = json.loads(mlms(*asked, "--output", "json").stdout)
    assert [row["evaluation_id"] for row in rows] == [new.evaluation_id, old.evaluation_id]
    (trend, *_) = json.loads(mlms("trends", "MNIST-CNN", "--output", "json").stdout)
    assert trend["model"] == "MNIST-CNN" and len(trend["points"]) >= 2
