"""The items of a dataset's run, each once and in order, out of the facts that told them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bus.messages import Message, Prediction, PredictionsMade


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One item that ran: its place in the run, and what was said and expected."""

    position: int
    prediction: Prediction


def items_of(facts: Sequence[Message]) -> dict[str, list[Item]]:
    """The items that a dataset's run predicted, by job."""
    jobs: dict[str, dict[int, Item]] = {}
    for fact in facts:
        if isinstance(fact, PredictionsMade):
            known = jobs.setdefault(fact.job_id, {})
            for place, prediction in enumerate(fact.predictions, fact.first):
                known.setdefault(place, Item(position=place, prediction=prediction))
    return {job: [known[place] for place in sorted(known)] for job, known in sorted(jobs.items())}


def right_class(prediction: Prediction) -> bool | None:
    """Whether the first class is the true one; None where the item has no label."""
    if prediction.truth is None or prediction.truth.index < 0:
        return None
    return bool(prediction.classes) and prediction.classes[0].index == prediction.truth.index


def same_words(prediction: Prediction) -> bool | None:
    """Whether the text is the true one, word by word; None where the item has no text."""
    if prediction.truth is None or not prediction.truth.text:
        return None
    return prediction.text.split() == prediction.truth.text.split()


def is_right(prediction: Prediction) -> bool | None:
    """Whether a model is right about an item; None where that cannot be said."""
    judged = right_class(prediction)
    return same_words(prediction) if judged is None else judged
