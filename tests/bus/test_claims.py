"""What a manifest claims, and what its results are keyed by."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bus.claims import claims_of
from bus.codec import content_digest, digest
from bus.messages import Claim, FrameworkWanted, Manifest, ModelResources

SMALL = Manifest(
    name="m",
    version="1.0.0",
    framework=FrameworkWanted(name="onnxruntime"),
    model=ModelResources(graph_path="m.onnx"),
)


def test_whoever_publishes_it_the_content_is_the_same() -> None:
    assert content_digest(SMALL) == digest(SMALL)
    unseen = {"hidden": True}, {"visibility": "private"}, {"groups": ["vision"]}
    for changes in ({"owner": "ann"}, *unseen):
        assert content_digest(replace(SMALL, **changes)) == content_digest(SMALL)
    assert content_digest(replace(SMALL, description="x")) != content_digest(SMALL)


@pytest.mark.parametrize(
    ("attributes", "read_as"),
    [
        ({"top1": "76.46"}, [("top1", 76.46, "%")]),
        ({"Top-1": "0.7646", "top_5": "93 %"}, [("top1", 0.7646, ""), ("top5", 93.0, "%")]),
        ({"mAP": 0.37}, [("mAP", 0.37, "")]),
        ({"top1": "not measured", "kind": "CNN", "top5": "140"}, []),
        ({"top1": ["57"], "mIoU": True}, []),
    ],
)
def test_the_originals_attributes_are_claims(
    attributes: dict[str, object], read_as: list[tuple[str, float, str]]
) -> None:
    found = claims_of(replace(SMALL, attributes=attributes))
    assert [(claim.metric, claim.value, claim.unit) for claim in found] == read_as
    assert all(claim.source.startswith("attributes.") for claim in found)


def test_a_claim_of_its_own_counts_before_an_attribute() -> None:
    claim = Claim(metric="Top1", value=75.1, unit="%", on="ImageNet")
    manifest = replace(SMALL, claims=[claim], attributes={"top1": "70", "top5": "90"})
    assert [found.value for found in claims_of(manifest)] == [75.1, 90.0]
