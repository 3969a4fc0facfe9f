"""What differs between two stacks: each kind, nothing twice, and nothing where nothing does."""

from __future__ import annotations

from msgspec.structs import replace

from analysis.stacks import StackRow, difference
from bus.messages import Stack

A = Stack(
    python="3.11.9",
    system="Debian GNU/Linux 12 (bookworm)",
    packages={"numpy": "1.26.4", "onnxruntime": "1.20.1", "pillow": "11.0.0"},
    system_packages={"libc6": "2.36-9"},
    libraries={"libgomp": "1.0.0", "libz": ""},
    variables={"OMP_NUM_THREADS": "1"},
    image="ort:1.20",
    digest="sha256:aa",
    layers=["sha256:base", "sha256:old"],
)
B = Stack(
    python="3.12.1",
    system="Debian GNU/Linux 12 (bookworm)",
    packages={"numpy": "2.4.6", "onnxruntime": "1.20.1", "msgpack": "1.2.4"},
    system_packages={"libc6": "2.36-9"},
    libraries={"libgomp": "1.0.0"},
    variables={"OMP_NUM_THREADS": "1", "TF_ENABLE_ONEDNN_OPTS": "0"},
    image="ort:1.31",
    digest="sha256:bb",
    layers=["sha256:base", "sha256:new"],
)


def test_two_stacks() -> None:
    rows = [(row.kind, row.name, row.a, row.b) for row in difference(A, B)]
    assert rows == [
        ("image", "", "ort:1.20", "ort:1.31"),
        ("digest", "", "sha256:aa", "sha256:bb"),
        ("python", "", "3.11.9", "3.12.1"),
        ("layer", "sha256:old", "has it", ""),
        ("layer", "sha256:new", "", "has it"),
        ("package", "msgpack", "", "1.2.4"),
        ("package", "numpy", "1.26.4", "2.4.6"),
        ("package", "pillow", "11.0.0", ""),
        ("library", "libz", "(version unknown)", ""),
        ("variable", "TF_ENABLE_ONEDNN_OPTS", "", "0"),
    ]


def test_a_stack_is_itself() -> None:
    assert difference(A, A) == []


def test_what_was_not_recorded_is_not_absent() -> None:
    image = replace(A, libraries={})
    (row,) = difference(A, image)
    assert (row.kind, row.name, row.a, row.b) == ("library", "", "2 recorded", "n/a: not recorded")
    outside = replace(A, system_packages={}, packages={})
    kinds = [(row.kind, row.a, row.b) for row in difference(outside, A)]
    assert ("system package", "n/a: not recorded", "1 recorded") in kinds
    assert ("package", "", "1.26.4") in kinds  # numpy: an environment without packages has none


def test_the_other_way_round() -> None:
    turned = [StackRow(kind=r.kind, name=r.name, a=r.b, b=r.a) for r in difference(B, A)]
    assert sorted(turned, key=str) == sorted(difference(A, B), key=str)
