"""Each pitfall is one edit of a specification, and says so; twice the same swap is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.errors import InputError, UnknownNameError
from manifests.catalog import read
from manifests.datasets import read_dataset
from mlmodelscope.pitfalls import (
    PITFALLS,
    Pitfall,
    Specification,
    changed_fields,
    pitfall_named,
    shifted,
)

MANIFESTS = Path(__file__).parents[2] / "manifests"


def specification(model: str) -> Specification:
    return Specification(
        manifest=read(MANIFESTS / "models" / f"{model}.yml"),
        dataset=read_dataset(MANIFESTS / "datasets" / "mnist-5k.yml"),
        shifted_labels=("repo://labels", "sha256:0"),
    )


FIELDS = {
    "color": "model.inputs[0].parameters.color_mode",
    "layout": "model.after_preprocess",
    "scale": "model.inputs[0].parameters.scale",
    "mean": "model.inputs[0].parameters.mean",
    "integers": "model.after_preprocess",
    "crop": "model.inputs[0].parameters.crop_method",
    "resize": "model.inputs[0].parameters.interpolation",
    "aspect": "model.inputs[0].parameters.resize_method",
    "decoder": "model.inputs[0].parameters.decoder",
    "order": "model.inputs[0].parameters.steps",
    "labels": "model.outputs[0].parameters.url",
    "precision": "settings.precision",
    "optimization": "settings.graph_optimization",
    "input-list": "settings.feed",
    "input-native": "settings.feed",
    "cold-start": "warmup",
}


@pytest.mark.parametrize("name", FIELDS)
def test_one_edit_changes_one_field_and_the_difference_names_it(name: str) -> None:
    """Each pitfall is one edit of the specification."""
    before = specification("efficientnet-lite0")
    changes = changed_fields(before, pitfall_named(name).edit(before))
    assert [change.field for change in changes] == [FIELDS[name]]
    assert changes[0].before != changes[0].after


def test_every_pitfall_is_tried_here() -> None:
    assert {one.name for one in PITFALLS} == {*FIELDS, "mean-order", "statistic"}


@pytest.mark.parametrize("name", ["color", "order"])
def test_a_swap_twice_is_no_change(name: str) -> None:
    """BGR applied twice is RGB."""
    before, edit = specification("efficientnet-lite0"), pitfall_named(name).edit
    assert changed_fields(before, edit(edit(before))) == []
    assert edit(edit(before)) == before


def test_the_means_order() -> None:
    from msgspec.structs import replace

    one = specification("efficientnet-lite0")
    first = one.manifest.inputs[0]
    parameters = replace(first.parameters, mean=[123.0, 117.0, 104.0])
    manifest = replace(one.manifest, inputs=[replace(first, parameters=parameters)])
    before = Specification(manifest=manifest, dataset=one.dataset)
    (change,) = changed_fields(before, pitfall_named("mean-order").edit(before))
    assert change.after == [104.0, 117.0, 123.0]


def test_labels_move_on_by_one() -> None:
    assert shifted(specification("mnist-cnn").dataset) == list("9012345678")


@pytest.mark.parametrize(
    ("name", "model", "says"),
    [
        ("color", "mnist-cnn", "grey images"),
        ("crop", "mnist-cnn", "crops nothing"),
        ("mean", "mnist-cnn", "mean 0"),
        ("mean-order", "efficientnet-lite0", "the same in either order"),
        ("color", "silero-vad", "takes no image but audio"),
        ("labels", "silero-vad", "expected a classification"),
    ],
)
def test_where_there_is_nothing_to_change_it_says_so(name: str, model: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        pitfall_named(name).edit(specification(model))


def test_an_unknown_pitfall_has_neighbours() -> None:
    with pytest.raises(UnknownNameError, match="did you mean color"):
        pitfall_named("colour")


@pytest.mark.parametrize("one", PITFALLS, ids=lambda one: one.name)
def test_each_says_what_it_changes_and_what_to_expect(one: Pitfall) -> None:
    assert one.field and one.expected
