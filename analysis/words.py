"""How right a text is: word for word, and by the share of words that have to be mended."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from analysis.items import Item, same_words
from analysis.proportions import Share, share


class WrongText(msgspec.Struct, frozen=True, kw_only=True):
    """An item whose text is not the true one; edits: words put in, left out or replaced."""

    position: int
    input: str
    truth: str
    said: str
    edits: int


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """exact: texts that are the same but for white space. word_error_rate: edits a true word."""

    exact: Share
    word_error_rate: float
    words: int
    edits: int
    wrong: list[WrongText]


def words(items: Sequence[Item]) -> Words | None:
    """The accuracy of texts; None where no item has a true one."""
    judged = [(item, right) for item in items if (right := same_words(item.prediction)) is not None]
    if not judged:
        return None
    wrong, count = [], 0
    for item, right in judged:
        truth = item.prediction.truth.text if item.prediction.truth else ""
        count += len(truth.split())
        if not right:
            said = item.prediction.text
            wrong.append(
                WrongText(
                    position=item.position,
                    input=item.prediction.input,
                    truth=truth,
                    said=said,
                    edits=word_edits(truth.split(), said.split()),
                )
            )
    edits = sum(row.edits for row in wrong)
    return Words(
        exact=share(len(judged) - len(wrong), len(judged)),
        word_error_rate=edits / count if count else 0.0,
        words=count,
        edits=edits,
        wrong=wrong,
    )


def word_edits(truth: Sequence[str], said: Sequence[str]) -> int:
    """The fewest words to put in, leave out or replace to make `said` of `truth` (Levenshtein)."""
    row = list(range(len(said) + 1))
    for number, word in enumerate(truth, 1):
        before, row[0] = row[0], number
        for place, other in enumerate(said, 1):
            kept = before + (word != other)
            before = row[place]
            row[place] = min(kept, row[place] + 1, row[place - 1] + 1)
    return row[-1]
