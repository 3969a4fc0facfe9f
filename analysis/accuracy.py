"""How right a model is on a dataset: of the items that ran, by what its task asks for."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from analysis.classification import Classification, classification
from analysis.detection import Detection, detection
from analysis.enhancement import Enhancement, enhancement
from analysis.items import Item, items_of
from analysis.segmentation import Segmentation, segmentation
from analysis.words import Words, words
from bus.messages import Claim, JobStarted, Message, Truth


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """One job on one dataset: items that ran, and of them the unlabelled, which do not count.

    Of classification, detection, segmentation, enhancement and text, what the labels allow.
    """

    job_id: str
    node_id: str
    model: str
    model_version: str
    framework: str
    framework_version: str
    dataset: str
    dataset_version: str
    weights: str
    items: int
    unlabelled: int
    classification: Classification | None = None
    detection: Detection | None = None
    segmentation: Segmentation | None = None
    enhancement: Enhancement | None = None
    text: Words | None = None
    claims: list[Claim] = []


COPIED = (
    "job_id",
    "node_id",
    "model",
    "model_version",
    "framework",
    "framework_version",
    "dataset",
    "dataset_version",
    "weights",
    "claims",
)


def accuracy(facts: Sequence[Message]) -> list[Accuracy]:
    """One row for each job of an evaluation that ran a dataset.

    Counted are the items that ran, not those of the whole dataset: a limited or interrupted run is
    not held against the model.
    """
    started = {f.job_id: f for f in facts if isinstance(f, JobStarted) and f.dataset}
    items = items_of(facts)
    return [_of_job(fact, items.get(job_id, [])) for job_id, fact in sorted(started.items())]


def _of_job(started: JobStarted, items: Sequence[Item]) -> Accuracy:
    return Accuracy(
        **{name: getattr(started, name) for name in COPIED},
        items=len(items),
        unlabelled=sum(not _labelled(item.prediction.truth) for item in items),
        classification=classification(items),
        detection=detection(items),
        segmentation=segmentation(items),
        enhancement=enhancement(items),
        text=words(items),
    )


def _labelled(truth: Truth | None) -> bool:
    """Whether anything is known; an image on which nothing is to be found is known too."""
    return truth is not None
