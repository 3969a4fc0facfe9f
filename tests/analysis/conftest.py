"""Small timelines, made as the collector makes them, and checkable by eye."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bus import codec
from bus.messages import Span, SpansRecorded
from collector.timeline import Timeline, assemble

TimelineOf = Callable[..., Timeline]


@pytest.fixture
def timeline_of() -> TimelineOf:
    """Spans by where they come from: ("n1", "worker", run) -> spans; parents are found."""

    def make(sources: dict[tuple[str, str, int], list[Span]]) -> Timeline:
        batches = [
            SpansRecorded(
                evaluation_id="4bf92f3577b34da6a3ce929d0e0e4736",
                source=role,
                node_id=machine if role not in ("client", "coordinator") else "",
                batch=number,
                run=run,
                levels={},
                count=len(spans),
                first_start_ns=0,
                last_end_ns=0,
                block=codec.pack_rows(spans),
            )
            for number, ((machine, role, run), spans) in enumerate(sources.items())
        ]
        return assemble(batches, [])

    return make
