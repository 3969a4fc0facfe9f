"""Every figure of accuracy against another library, or against a case worked by hand."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.stats import binomtest

from analysis.accuracy import accuracy
from analysis.classification import classification, worst_confusions
from analysis.detection import detection
from analysis.enhancement import enhancement
from analysis.items import Item
from analysis.paired import paired
from analysis.proportions import mcnemar, share
from analysis.segmentation import segmentation
from analysis.summary import summarize
from analysis.words import word_edits, words
from bus.errors import InputError
from bus.messages import (
    Box,
    Claim,
    ClassMap,
    ClassScore,
    JobStarted,
    Prediction,
    PredictionsMade,
    TensorValue,
    Truth,
)


def item(position: int, **fields: Any) -> Item:
    return Item(position=position, prediction=Prediction(input=f"i{position}", **fields))


def ranked(*classes: int) -> list[ClassScore]:
    return [
        ClassScore(index=c, label=f"c{c}", probability=1 / (n + 2)) for n, c in enumerate(classes)
    ]


# ------------------------------------------------------------------ shares


@pytest.mark.parametrize("right", [0, 1, 5, 9, 10])
@pytest.mark.parametrize("of", [10, 11, 1000])
def test_wilson_interval_as_scipy_has_it(right: int, of: int) -> None:
    found = share(right, of)
    wanted = binomtest(right, of).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert found.share == right / of


def test_a_share_of_nothing_is_not_known() -> None:
    assert (share(0, 0).share, share(0, 0).low) == (None, None)


@pytest.mark.parametrize(
    ("a", "b"), [(0, 0), (1, 0), (5, 5), (3, 12), (40, 17), (600, 700), (5000, 5200)]
)
def test_mcnemar_is_the_two_sided_binomial_test(a: int, b: int) -> None:
    wanted = binomtest(min(a, b), a + b, 0.5).pvalue if a + b else 1.0
    assert mcnemar(a, b) == pytest.approx(wanted, rel=1e-9)


# ------------------------------------------------------------------ classification


def test_a_case_worked_by_hand() -> None:
    """Six items, one unlabelled, three classes: counted on paper."""
    items = [
        item(0, classes=ranked(0, 1, 2), truth=Truth(index=0)),
        item(1, classes=ranked(1, 0, 2), truth=Truth(index=0)),
        item(2, classes=ranked(1, 0, 2), truth=Truth(index=1)),
        item(3, classes=ranked(2, 1, 0), truth=Truth(index=2)),
        item(4, classes=ranked(1, 2, 0), truth=Truth(index=2)),
        item(5, classes=ranked(1, 2, 0)),
    ]
    found = classification(items)
    assert found is not None
    # Three classes: top-5 becomes top-3, which is always right.
    assert [(top.k, top.share.right, top.share.of) for top in found.top] == [(1, 3, 5), (3, 5, 5)]
    rows = [(r.index, r.items, r.predicted, r.right, r.precision, r.recall) for r in found.classes]
    assert rows == [
        (0, 2, 1, 1, 1.0, 0.5),
        (1, 1, 3, 1, pytest.approx(1 / 3), 1.0),
        (2, 2, 1, 1, 1.0, 0.5),
    ]
    cells = {(c.truth, c.said): c.items for c in found.confusion}
    assert cells == {(0, 0): 1, (0, 1): 1, (1, 1): 1, (2, 1): 1, (2, 2): 1}
    assert [(w.input, w.truth, w.said, w.truth_rank) for w in found.wrong] == [
        ("i1", 0, 1, 2),
        ("i4", 2, 1, 2),
    ]
    assert [(c.truth, c.said) for c in worst_confusions(found)] == [(0, 1), (2, 1)]


def test_precision_recall_f1_as_scikit_learn_has_them() -> None:
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    drawn = random.Random(3)
    truth = [drawn.randrange(7) for _ in range(300)]
    said = [t if drawn.random() < 0.7 else drawn.randrange(9) for t in truth]
    items = [
        item(n, classes=ranked(s), truth=Truth(index=t))
        for n, (t, s) in enumerate(zip(truth, said, strict=True))
    ]
    found = classification(items)
    assert found is not None
    for name, averages in (("macro", found.macro), ("micro", found.micro)):
        wanted = precision_recall_fscore_support(truth, said, average=name, zero_division=0)[:3]
        assert (averages.precision, averages.recall, averages.f1) == pytest.approx(wanted)
    matrix = confusion_matrix(truth, said, labels=range(9))
    ours = np.zeros((9, 9), int)
    for cell in found.confusion:
        ours[cell.truth, cell.said] = cell.items
    assert (ours == matrix).all()


def test_nothing_labelled_is_no_accuracy() -> None:
    assert classification([item(0, classes=ranked(1))]) is None


# ------------------------------------------------------------------ detection


def box(x: float, y: float, side: float, index: int, probability: float = 0.0, **more: Any) -> Box:
    return Box(x1=x, y1=y, x2=x + side, y2=y + side, index=index, probability=probability, **more)


def test_average_precision_worked_by_hand() -> None:
    """Class 0: of two things one is found exactly, and a false one is told with more certainty.

    Precision 1/2 up to recall 1/2, nothing beyond: of COCO's 101 recall points (0, 0.01 … 1) 51
    have 1/2. Class 1: found exactly, precision 1.
    """
    items = [
        item(
            0,
            boxes=[box(50, 50, 10, 0, 0.9), box(0, 0, 10, 0, 0.8), box(20, 20, 10, 1, 0.7)],
            truth=Truth(boxes=[box(0, 0, 10, 0), box(80, 0, 10, 0), box(20, 20, 10, 1)]),
        )
    ]
    found = detection(items)
    assert found is not None
    zero = 51 / 101 / 2
    assert [(c.index, c.boxes, pytest.approx(c.precision)) for c in found.classes] == [
        (0, 2, zero),
        (1, 1, 1.0),
    ]
    assert found.mean_precision == pytest.approx((zero + 1) / 2)
    assert found.mean_precision_50 == pytest.approx((zero + 1) / 2)


def test_mean_precision_equals_pycocotools_on_files(tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    drawn = random.Random(11)
    items, annotations, results = [], [], []
    for number in range(12):
        true, told = [], []
        for _ in range(drawn.randrange(5)):
            x, y, side = drawn.randrange(200), drawn.randrange(200), drawn.randrange(8, 90)
            crowd = drawn.random() < 0.1
            true.append(box(x, y, side, drawn.randrange(3), crowd=crowd))
            if drawn.random() < 0.8:
                moved = x + drawn.uniform(-6, 6)
                index = true[-1].index if drawn.random() < 0.8 else drawn.randrange(4)
                told.append(box(moved, y, side, index, drawn.random()))
        items.append(item(number, boxes=told, truth=Truth(boxes=true)))
        for each in true:
            side = each.x2 - each.x1
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": each.index + 1,
                 "bbox": [each.x1, each.y1, side, side], "area": side * side,
                 "iscrowd": int(each.crowd)}
            )  # fmt: skip
        results += [
            {"image_id": number, "category_id": b.index + 1, "score": b.probability,
             "bbox": [b.x1, b.y1, b.x2 - b.x1, b.y2 - b.y1]} for b in told
        ]  # fmt: skip
    truth_file = tmp_path / "truth.json"
    truth_file.write_text(
        json.dumps(
            {
                "info": {},
                "images": [{"id": n} for n in range(12)],
                "categories": [{"id": n + 1, "name": str(n)} for n in range(4)],
                "annotations": annotations,
            }
        )
    )
    result_file = tmp_path / "results.json"
    result_file.write_text(json.dumps(results))
    truth = COCO(str(truth_file))
    evaluated = COCOeval(truth, truth.loadRes(str(result_file)), "bbox")
    evaluated.evaluate()
    evaluated.accumulate()
    evaluated.summarize()
    found = detection(items)
    assert found is not None
    ours = (found.mean_precision, found.mean_precision_50, found.mean_precision_75)
    assert ours == pytest.approx(tuple(evaluated.stats[:3]), abs=1e-12)


# ------------------------------------------------------------------ pixels


def class_map(rows: list[list[int]]) -> ClassMap:
    array = np.array(rows, "<u2")
    return ClassMap(height=array.shape[0], width=array.shape[1], block=zlib.compress(array))


def test_mean_overlap_worked_by_hand() -> None:
    """Class 0: 3 true, 3 said, 2 both: 2/4. Class 1: 2, 3, 2: 2/3. One pixel is of no class."""
    truth = class_map([[0, 0, 0], [1, 1, 65535]])
    said = class_map([[0, 0, 1], [1, 1, 0]])
    found = segmentation([item(0, map=said, truth=Truth(map=truth))])
    assert found is not None
    assert [c.overlap for c in found.classes] == pytest.approx([2 / 3, 2 / 3])
    assert found.pixels == 5 and found.pixel_accuracy == pytest.approx(4 / 5)


def test_a_map_of_another_size_is_compared_by_its_nearest_pixels() -> None:
    truth = class_map([[0, 0, 1, 1], [0, 0, 1, 1]])
    found = segmentation([item(0, map=class_map([[0, 1]]), truth=Truth(map=truth))])
    assert found is not None and found.mean_overlap == 1.0


def test_likeness_of_images_as_scikit_image_has_it() -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    drawn = np.random.default_rng(5)
    wanted = drawn.integers(0, 256, (24, 31, 3)).astype(np.uint8)
    noise = drawn.integers(-20, 21, wanted.shape)
    made = np.clip(wanted.astype(int) + noise, 0, 255).astype(np.uint8)

    def value(image: np.ndarray) -> TensorValue:
        return TensorValue(dtype="uint8", shape=list(image.shape), data=image.tobytes())

    items = [
        item(0, image=value(made), truth=Truth(image=value(wanted))),
        item(1, image=value(wanted), truth=Truth(image=value(wanted))),
    ]
    found = enhancement(items)
    assert found is not None
    assert found.items[0].psnr_db == pytest.approx(peak_signal_noise_ratio(wanted, made))
    ssim = structural_similarity(
        wanted, made, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    assert found.items[0].ssim == pytest.approx(ssim, abs=1e-9)
    assert (found.same, found.items[1].ssim) == (1, pytest.approx(1.0))


# ------------------------------------------------------------------ text


@pytest.mark.parametrize(
    ("truth", "said", "edits"),
    [
        ("the cat sat", "the cat sat", 0),
        ("the cat sat", "a cat sat down", 2),
        ("the cat sat", "", 3),
        ("", "so it is", 3),
        ("a b c d", "b c d", 1),
    ],
)
def test_word_edits_worked_by_hand(truth: str, said: str, edits: int) -> None:
    assert word_edits(truth.split(), said.split()) == edits


def test_exact_match_and_word_error_rate() -> None:
    items = [
        item(0, text="the cat  sat", truth=Truth(text="the cat sat")),
        item(1, text="a dog ran off", truth=Truth(text="the dog ran")),
        item(2, text="anything"),
    ]
    found = words(items)
    assert found is not None
    assert (found.exact.right, found.exact.of) == (1, 2)
    assert found.word_error_rate == pytest.approx(2 / 6)
    assert [row.input for row in found.wrong] == ["i1"]


# ------------------------------------------------------------------ out of facts


def facts(said: list[int], truth: list[int], job: str = "j-0", model: str = "M") -> list[Any]:
    base = {"evaluation_id": "e", "job_id": job, "attempt": 1, "node_id": "n", "at_ns": 0}
    started = JobStarted(
        **base, sequence=0, incarnation="i", model=model, model_version="1.0.0",
        model_digest="", framework="onnxruntime", framework_version="1.0.0",
        environment="default", dataset="D", dataset_version="1.0.0",
    )  # fmt: skip
    predictions = [
        Prediction(input=f"i{n}", classes=ranked(s), truth=Truth(index=t) if t >= 0 else None)
        for n, (s, t) in enumerate(zip(said, truth, strict=True))
    ]
    frames = [
        PredictionsMade(**base, sequence=1 + at, run=0, first=at, predictions=predictions[at:][:2])
        for at in range(0, len(predictions), 2)
    ]
    return [started, *reversed(frames), frames[0]]


def test_claims_stand_beside_what_the_same_dataset_gave() -> None:
    told = facts([1, 2, 1, 0], [1, 1, 1, -1])  # 2 of 3, and one without a label
    claims = [
        Claim(metric="top-1", value=50, unit="%", on="D 1.0.0"),
        Claim(metric="top1", value=0.8, on="ImageNet"),
        Claim(metric="mAP", value=0.4, on="D"),
    ]
    told[0] = replace(told[0], claims=claims)
    (row,) = accuracy(told)
    same, other, missing = row.claims
    assert same.measured == pytest.approx(200 / 3) and same.ratio == pytest.approx(4 / 3)
    assert (other.ratio, other.why) == (None, "claimed on ImageNet, measured on D")
    assert (missing.measured, missing.why) == (None, "not measured here")
    assert summarize(told).claims == row.claims


def test_frames_out_of_order_and_told_twice_count_once() -> None:
    (row,) = accuracy(facts([0, 1, 2, 3, 4], [0, 1, 2, 0, -1]))
    assert (row.items, row.unlabelled, row.dataset) == (5, 1, "D")
    assert row.classification is not None
    top = row.classification.top[0].share
    assert (top.right, top.of) == (3, 4)


def test_which_does_a_get_right_and_b_wrong() -> None:
    truth = [0, 1, 2, 3, 4, -1]
    found = paired(
        facts([0, 1, 2, 9, 9, 0], truth, model="A"), facts([0, 9, 9, 3, 8, 0], truth, model="B")
    )
    assert (found.items, found.both_right, found.only_a, found.only_b) == (5, 1, 2, 1)
    assert (found.both_wrong, found.differing) == (1, 4)
    assert [(d.input, d.right) for d in found.disagreements] == [
        ("i1", "a"), ("i2", "a"), ("i3", "b"),
    ]  # fmt: skip
    assert found.p_value == 1.0


def test_runs_that_share_no_items_are_not_compared() -> None:
    with pytest.raises(InputError, match="share no labelled items"):
        paired(facts([1], [1]), facts([1], [2]))
