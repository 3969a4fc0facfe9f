"""Small repairs on reading: each step mends one kind of fault in place and says how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from bus.messages import LEVELS
from collector.rows import NO_TAGS, Columns, Vocabulary

DEEPEST = len(LEVELS) - 1
NO_NAME = "(no name)"
EARLIEST_NS, LATEST_NS = -(2**62), 2**62
"""Half the range of int64: a clock's offset and a duration may be added without a wrap."""

Step = Callable[[Columns, Vocabulary], int]


def known_levels(columns: Columns, words: Vocabulary) -> int:
    """A level that is none of ours becomes the deepest one: it can be nobody's parent above it."""
    wrong = (columns.level == 0) | (columns.level > DEEPEST)
    columns.level[wrong] = DEEPEST
    return int(np.count_nonzero(wrong))


def possible_times(columns: Columns, words: Vocabulary) -> int:
    """A start beyond every calendar is moved to the edge of what can be computed with."""
    wrong = (columns.start_ns < EARLIEST_NS) | (columns.start_ns > LATEST_NS)
    np.clip(columns.start_ns, EARLIEST_NS, LATEST_NS, out=columns.start_ns)
    return int(np.count_nonzero(wrong))


def no_negative_durations(columns: Columns, words: Vocabulary) -> int:
    """Nothing takes less than no time."""
    wrong = columns.duration_ns < 0
    columns.duration_ns[wrong] = 0
    return int(np.count_nonzero(wrong))


def possible_durations(columns: Columns, words: Vocabulary) -> int:
    """A duration whose end no clock could show is cut to one that it could."""
    wrong = columns.duration_ns > LATEST_NS // 2
    columns.duration_ns[wrong] = LATEST_NS // 2
    return int(np.count_nonzero(wrong))


def names_for_all(columns: Columns, words: Vocabulary) -> int:
    """A span without a name gets one that can be seen."""
    nameless = words.names.get("")
    if nameless is None:
        return 0
    wrong = columns.name == nameless
    columns.name[wrong] = words.names.setdefault(NO_NAME, len(words.names))
    return int(np.count_nonzero(wrong))


def maps_for_tags(columns: Columns, words: Vocabulary) -> int:
    """Tags that are no map become none: only the first byte is looked at."""
    first = words.tags.firsts()
    no_map = ~(((first >= 0x80) & (first <= 0x8F)) | (first == 0xDE) | (first == 0xDF))
    if not no_map.any():
        return 0
    wrong = no_map[columns.tags]
    columns.tags[wrong] = words.tags.number(NO_TAGS)
    return int(np.count_nonzero(wrong))


STEPS: tuple[Step, ...] = (
    known_levels,
    possible_times,
    no_negative_durations,
    possible_durations,
    names_for_all,
    maps_for_tags,
)


def clean(columns: Columns, words: Vocabulary) -> Counter[str]:
    """Every step in turn, over columns; what was mended, by the step's name."""
    mended: Counter[str] = Counter()
    for step in STEPS:
        if count := step(columns, words):
            mended[step.__name__] = count
    return mended
