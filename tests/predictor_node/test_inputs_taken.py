"""What the record of a job says of its inputs."""

from __future__ import annotations

import pytest

from bus.messages import Input, InputTaken
from predictor_node.inputs_taken import inputs_taken

# printf abc | sha256sum
ABC = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_what_came_inside_is_known_by_its_checksum() -> None:
    (taken,) = inputs_taken([Input(name="a.txt", data=b"abc")])
    assert taken == InputTaken(name="a.txt", checksum=ABC)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://example.org/a.png", "https://example.org/a.png"),
        ("package://manifests/models/samples/a.png", "package://manifests/models/samples/a.png"),
        ("https://ann:secret@example.org/a.png", ""),
        ("https://example.org/a.png?X-Signature=secret", ""),
        ("https://[::1/a.png", ""),
    ],
)
def test_an_address_that_may_hold_a_key_is_not_told(url: str, told: str) -> None:
    (taken,) = inputs_taken([Input(name="a.png", url=url, checksum=ABC)])
    assert taken == InputTaken(name="a.png", url=told, checksum=ABC)
