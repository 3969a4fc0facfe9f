"""How right a model is on a dataset: of the items that ran, by what its task asks for."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from analysis.claims import ClaimRow, Measured, claims_against, measured_times
from analysis.classification import Classification, classification
from analysis.detection import Detection, detection
from analysis.enhancement import Enhancement, enhancement
from analysis.items import Item, items_of
from analysis.latency import latency
from analysis.segmentation import Segmentation, segmentation
from analysis.words import Words, words
from bus.messages import JobStarted, Message, ModelOpened, RunMeasured, Truth


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
    claims: list[ClaimRow] = []
    """What the author claims, beside what this job measured."""


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
)


def accuracy(facts: Sequence[Message]) -> list[Accuracy]:
    """One row for each job of an evaluation that ran a dataset.

    Counted are the items that ran, not those of the whole dataset: a limited or interrupted run is
    not held against the model.
    """
    started = {f.job_id: f for f in facts if isinstance(f, JobStarted) and f.dataset}
    items, times = items_of(facts), latency([f for f in facts if isinstance(f, RunMeasured)])
    opened = {f.job_id: f.framework_version for f in facts if isinstance(f, ModelOpened)}
    rows = []
    for job_id, fact in sorted(started.items()):
        # The worker itself knows better than what its node announced.
        version = opened.get(job_id, fact.framework_version)
        fact = msgspec.structs.replace(fact, framework_version=version)
        row = _of_job(fact, items.get(job_id, []))
        took = measured_times([time for time in times if time.job_id == job_id])
        claims = claims_against(fact.claims, [*measured(row), *took])
        rows.append(msgspec.structs.replace(row, claims=claims))
    return rows


def measured(row: Accuracy) -> list[Measured]:
    """The figures of a row by the names that claims have; precision, recall and F1 are macro."""
    found: dict[str, float | None] = {}
    if row.classification is not None:
        average = row.classification.macro
        found |= {f"top{top.k}": top.share.share for top in row.classification.top}
        found |= {"precision": average.precision, "recall": average.recall, "f1": average.f1}
    if row.detection is not None:
        found |= {"mAP": row.detection.mean_precision, "mAP50": row.detection.mean_precision_50}
        found |= {"mAP75": row.detection.mean_precision_75}
    if row.segmentation is not None:
        found |= {"mIoU": row.segmentation.mean_overlap}
        found |= {"pixel accuracy": row.segmentation.pixel_accuracy}
    if row.enhancement is not None:
        found |= {"psnr": row.enhancement.psnr_db, "ssim": row.enhancement.ssim}
    if row.text is not None:
        found |= {"exact match": row.text.exact.share, "word error rate": row.text.word_error_rate}
    return [
        Measured(metric=name, value=value, on=row.dataset, version=row.dataset_version)
        for name, value in found.items()
        if value is not None
    ]


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
