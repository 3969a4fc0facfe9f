"""Distinct tag maps in one buffer: each under its number, however many there are."""

from __future__ import annotations

import pytest

from collector import tags
from collector.tags import Tags


def maps(count: int) -> list[bytes]:
    return [b"\x81\xa1q" + bytes([0xCD, number >> 8, number & 255]) for number in range(count)]


def test_what_comes_again_has_the_same_number() -> None:
    kept, several = Tags(), maps(3)
    assert [kept.number(one) for one in (*several, *several, b"")] == [0, 1, 2, 0, 1, 2, 3]
    assert list(kept) == [*several, b""] and kept[1:3] == several[1:]
    assert kept.firsts().tolist() == [0x81, 0x81, 0x81, 0]
    with pytest.raises(IndexError):
        kept[4]


def test_what_repeats_is_known_again_after_many_that_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A layer's tags among the queries' own: few copies of it, and nothing is mixed up."""
    monkeypatch.setattr(tags, "MOST_KNOWN", 100)
    kept, layer = Tags(), b"\x81\xa1n\x07"
    told = []
    for own in maps(1_000):
        told += [(kept.number(own), own), (kept.number(layer), layer)]
    assert all(kept[number] == raw for number, raw in told)
    assert len(kept) <= 1_000 + 12 and len(kept._known) <= 100


def test_nothing_has_no_first_bytes() -> None:
    assert Tags().firsts().tolist() == [] and list(Tags()) == []
