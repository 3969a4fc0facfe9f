"""Said: what a model says of one input, with the picture or sound where it lies here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bus.messages import InputTaken, Interval, JobStarted, Prediction
from mlmodelscope.predictions import NO_CLASS, cells_of, class_map
from web import pixels, samples
from web.state import State
from web.stored import Known

MOST_SHOWN = 50
MOST_BOXES = 100
MOST_LANES = 40


@dataclass(frozen=True)
class Mark:
    """Something heard, as a bar: when, in which lane, and in words. begin and length in seconds."""

    begin: float
    length: float
    lane: int
    text: str


@dataclass(frozen=True)
class Marks:
    """All that was heard: the bars, the lanes by name, and the last bar's end in seconds."""

    bars: list[Mark]
    lanes: list[str]
    end: float


@dataclass(frozen=True)
class Said:
    """What a model says of one input. at: its place among all; picture: an address, or nothing."""

    evaluation_id: str
    at: int
    prediction: Prediction
    picture: str = ""
    media: str = ""

    @property
    def tables(self) -> list[dict[str, Any]]:
        """Everything, as tables."""
        return cells_of(self.prediction)

    @property
    def address(self) -> str:
        """Below which its pictures lie."""
        return f"/evaluations/{self.evaluation_id}/said/{self.at}"

    @property
    def boxes(self) -> list[tuple[int, Any]]:
        """What was found, the surest last, so that it lies on top; and its number."""
        numbered = list(enumerate(self.prediction.boxes))[:MOST_BOXES]
        return sorted(numbered, key=lambda pair: pair[1].probability)

    @property
    def legend(self) -> list[tuple[str, str, str]]:
        """Of a class for each pixel: colour, name, share, the largest first."""
        found = self.prediction.map
        if found is None:
            return []
        classes, counts = np.unique(class_map(found), return_counts=True)
        order = np.argsort(-counts, kind="stable").tolist()
        names = dict(enumerate(found.labels))
        return [
            (pixels.hex_of(index), names.get(index, str(index)), f"{share:.1%}")
            for index, share in ((int(classes[at]), counts[at] / counts.sum()) for at in order)
            if index != NO_CLASS
        ]

    @property
    def marks(self) -> Marks | None:
        """What was heard, and when."""
        return marks_of(self.prediction.intervals) if self.prediction.intervals else None


def marks_of(intervals: Sequence[Interval]) -> Marks:
    """Bars in lanes: a lane a label, in the order of their names; many labels share lanes."""
    labels = sorted({one.label for one in intervals}, key=lambda text: (len(text), text))
    lanes = labels[:MOST_LANES]
    lane_of = {label: min(at, MOST_LANES - 1) for at, label in enumerate(labels)}
    bars = [
        Mark(
            begin=one.start_s,
            length=max(one.end_s - one.start_s, 1e-3),
            lane=lane_of[one.label],
            text=f"{one.start_s:.2f}–{one.end_s:.2f} s {one.label} {one.probability:.2f}".strip(),
        )
        for one in intervals
    ]
    return Marks(bars, lanes, max(one.end_s for one in intervals))


def said(state: State, known: Known, most: int = MOST_SHOWN) -> list[Said]:
    """Of each input what the model says; of a dataset's, other sections tell."""
    result, taken = known.result, _taken(known)
    if result.dataset:
        return []
    alike = len(taken) == len(result.predictions)
    return [
        Said(result.evaluation_id, at, one, *(_shown(state, taken[at]) if alike else ("", "")))
        for at, one in enumerate(result.predictions[:most])
    ]


def _taken(known: Known) -> list[InputTaken]:
    """What the job took whose predictions are the evaluation's."""
    return next((fact.inputs for fact in known.facts if isinstance(fact, JobStarted)), [])


def _shown(state: State, one: InputTaken) -> tuple[str, str]:
    """Where a picture or sound lies here that is this input for certain, and what it is."""
    digest = one.checksum.removeprefix("sha256:")
    if sample := samples.by_sha256().get(digest) or samples.by_url().get(one.url):
        return sample.shown, sample.media
    upload = state.uploads.known(digest)
    return (f"/api/v1/uploads/{upload.upload}", upload.media) if upload is not None else ("", "")
