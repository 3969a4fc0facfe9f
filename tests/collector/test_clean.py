"""Each repair by itself: one fault in, what is mended, how often it is counted."""

from __future__ import annotations

import msgspec
import pytest

from bus import codec
from collector.clean import STEPS, clean
from collector.rows import Columns, Vocabulary, read_block

GOOD = [1, 0, 2, "predict", 100, 10, 0, 0, {}]


def read(row: list[object]) -> tuple[Columns, Vocabulary]:
    words = Vocabulary()
    block = codec.pack_rows(msgspec.msgpack.encode([GOOD, row]))
    return read_block(block, words, 0, "n/worker/0"), words


CASES = {
    "known_levels": ([2, 0, 99, "a", 100, 10], "level", 7),
    "possible_times": ([2, 0, 3, "a", 2**63 - 1, 10], "start_ns", 2**62),
    "no_negative_durations": ([2, 0, 3, "a", 100, -1], "duration_ns", 0),
    "possible_durations": ([2, 0, 3, "a", 100, 2**63 - 1], "duration_ns", 2**61),
    "names_for_all": ([2, 0, 3, "", 100, 10], "name", "(no name)"),
    "maps_for_tags": ([2, 0, 3, "a", 100, 10, 0, 0, [1, 2]], "tags", b"\x80"),
}


def test_every_step_has_a_case() -> None:
    assert set(CASES) == {step.__name__ for step in STEPS}


@pytest.mark.parametrize("fault", CASES)
def test_repair(fault: str) -> None:
    row, column, mended = CASES[fault]
    columns, words = read(row)
    assert clean(columns, words) == {fault: 1}
    values = getattr(columns, column).tolist()
    words_of = {"name": list(words.names), "tags": list(words.tags)}.get(column)
    found = values[1] if words_of is None else words_of[values[1]]
    assert found == mended
    assert clean(columns, words) == {}


def test_nothing_to_mend() -> None:
    columns, words = read([2, 1, 3, "conv", 101, 2, 7, 3, {"index": 1}])
    before = {name: getattr(columns, name).tolist() for name in columns.__slots__}
    assert clean(columns, words) == {}
    assert before == {name: getattr(columns, name).tolist() for name in columns.__slots__}
