"""A leg for each cold start, and what its one query is among its run's."""

from __future__ import annotations

import pytest

from bus.messages import Run
from predictor_node.legs import Leg, cold_legs, cold_part


def run(index: int, scenario: str, queries: int) -> Run:
    return Run(
        index=index, batch_size=1, level="model", queries=queries, warmup=0, scenario=scenario
    )


def test_a_process_for_each_cold_start() -> None:
    legs = cold_legs([run(0, "online", 9), run(1, "cold_start", 2)])
    assert [(leg.sample, leg.fresh, [r.index for r in leg.runs]) for leg in legs] == [
        (0, True, [1]),
        (1, True, [1]),
    ]


@pytest.mark.parametrize(("sample", "last"), [(0, False), (1, True)])
def test_its_steps_add_up_to_the_whole(sample: int, last: bool) -> None:
    leg = Leg([run(1, "cold_start", 2)], sample=sample)
    found = cold_part(leg, {"parts_ns": {"open": [20], "first predict": [5]}}, 100, 140)
    assert found == {
        "first_query": sample,
        "last": last,
        "parts_ns": {"process": [100], "import": [15], "open": [20], "first predict": [5]},
    }


def test_any_other_leg_stays_as_it_is() -> None:
    assert cold_part(Leg([run(0, "online", 9)]), {}, 1, 2) == {}
