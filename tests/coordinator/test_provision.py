"""What a node gets ready for a model: its own environments first, then a container, then pip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from bus.messages import (
    Device,
    FrameworkSeen,
    ModelResources,
    Wanted,
)
from coordinator.constraints import fit, survey
from coordinator.placement import Outlook, choose
from coordinator.registry import Kind
from manifests.version import for_pip, meets

Make = Callable[..., Any]
IMAGES = {"amd64": {"cpu": "ort:1.31", "gpu": "ort:1.31-gpu"}, "arm64": {"cpu": "ort:arm"}}
OLD = [FrameworkSeen(name="onnxruntime", version="1.11.0", devices=["cpu"])]
CODE = "def run(context, data):\n    return data\n"
GPU = [Device(kind="cpu", name="c"), Device(kind="gpu", name="g")]
BUILDS = {"frameworks": [], "builds": ["onnxruntime"]}


@pytest.mark.parametrize(
    ("manifest", "wanted", "has", "environment"),
    [
        pytest.param({"container": IMAGES}, {}, {"containers": True}, "default", id="its own"),
        pytest.param(
            {"container": IMAGES},
            {"container": True},
            {"containers": True},
            "container:ort:1.31",
            id="asked for",
        ),
        pytest.param(
            {"container": IMAGES},
            {},
            {"containers": True, "frameworks": []},
            "container:ort:1.31",
            id="no framework",
        ),
        pytest.param(
            {"container": IMAGES},
            {},
            {"containers": True, "frameworks": OLD},
            "container:ort:1.31",
            id="another version",
        ),
        pytest.param(
            {"container": IMAGES, "preprocess": CODE},
            {},
            {"containers": True},
            "container:ort:1.31",
            id="code that the node itself does not allow",
        ),
        pytest.param(
            {"container": IMAGES},
            {"device": "gpu"},
            {"containers": True, "devices": GPU},
            "container:ort:1.31-gpu",
            id="a framework for the CPU alone",
        ),
        pytest.param(
            {"container": IMAGES},
            {},
            {"containers": True, "frameworks": [], "arch": "arm64"},
            "container:ort:arm",
            id="another architecture",
        ),
        pytest.param(
            {"dockerfile": "FROM scratch"},
            {"container": True},
            {"containers": True, "builds_images": True},
            # printf 'FROM scratch' | sha256sum
            "dockerfile:67c4282c6928ae38",
            id="a Dockerfile",
        ),
        pytest.param({}, {}, BUILDS, "pip:onnxruntime>=1.12.0,<2.0.0", id="pip"),
        pytest.param(
            {},
            {"framework": "onnxruntime@1.20.*"},
            {"builds": ["onnxruntime"]},
            "pip:onnxruntime>=1.12.0,<2.0.0,>=1.20.0,<1.21.0",
            id="pip, of a version that is not there",
        ),
        pytest.param(
            {"model": ModelResources(constructor="torchvision.models:alexnet", requires=["b>=2"])},
            {},
            BUILDS,
            "pip:onnxruntime>=1.12.0,<2.0.0 b>=2.0.0",
            id="pip, with what the model requires",
        ),
    ],
)
def test_where_it_runs(
    model: Make, node: Make, manifest: Any, wanted: Any, has: Any, environment: str
) -> None:
    found = fit(model(**manifest), Wanted(**wanted), node(**has))
    assert not found.failures and found.framework is not None
    assert found.framework.environment == environment
    assert [build.environment for build in found.builds] == [environment]
    by_name = {"framework": "", **wanted, "environment": environment, "container": False}
    again = fit(model(**manifest), Wanted(**by_name), node(**has))
    assert again.framework == found.framework


IN_A_CONTAINER = "a container, whose version is known when it runs"


@pytest.mark.parametrize(
    ("manifest", "wanted", "has", "failed"),
    [
        pytest.param(
            {"container": IMAGES},
            {"container": True},
            {"unavailable": {"containers": "no Docker engine answers"}},
            [("container", "a node that runs containers", "no Docker engine answers")],
            id="no engine",
        ),
        pytest.param(
            {},
            {"container": True},
            {"containers": True},
            [("container", "an image for x86_64/cpu", "a manifest that names none")],
            id="no image",
        ),
        pytest.param(
            {"container": {"arm64": {"cpu": "ort:arm"}}},
            {"container": True},
            {"containers": True},
            [("container", "an image for x86_64/cpu", "arm64/cpu ort:arm")],
            id="an image for another architecture",
        ),
        pytest.param(
            {"dockerfile": "FROM scratch"},
            {"container": True},
            {"containers": True},
            [
                (
                    "container",
                    "a node that builds a manifest's Dockerfile (--build-images)",
                    "a node that does not",
                )
            ],
            id="a Dockerfile that may not be built",
        ),
        pytest.param(
            {"container": IMAGES},
            {"container": True, "framework": "onnxruntime@^1.30"},
            {"containers": True},
            [("onnxruntime version", "^1.30", IN_A_CONTAINER)],
            id="a version, which nobody knows",
        ),
        pytest.param(
            {"container": IMAGES},
            {"framework": "pytorch"},
            {"containers": True, "frameworks": []},
            [("framework", "pytorch", "a model for onnxruntime")],
            id="another framework",
        ),
        pytest.param(
            {"container": IMAGES},
            {"environment": "mine"},
            {"containers": True},
            [("environment", "mine", "onnxruntime 1.31.1 in default")],
            id="an environment of the node",
        ),
        pytest.param(
            {"container": IMAGES},
            {"device": "gpu"},
            {"containers": True, "frameworks": []},
            [("device", "gpu", "cpu")],
            id="a device that is not there",
        ),
        pytest.param(
            {},
            {"framework": "onnxruntime@^2"},
            BUILDS,
            [("framework", "onnxruntime", "none")],
            id="versions that exclude each other",
        ),
        pytest.param(
            {"preprocess": CODE},
            {},
            BUILDS,
            [
                (
                    "code",
                    "a node that allows a manifest's code (--allow-code)",
                    "a node that does not",
                )
            ],
            id="code, in an environment of the node's making",
        ),
    ],
)
def test_why_it_does_not_run(
    model: Make, node: Make, manifest: Any, wanted: Any, has: Any, failed: list[tuple[str, ...]]
) -> None:
    found = fit(model(**manifest), Wanted(**wanted), node(**has))
    assert found.framework is None
    assert [(f.constraint, f.wanted, f.has) for f in found.failures] == failed


def test_a_node_that_has_everything_goes_first(model: Make, node: Make) -> None:
    bare = node("a", containers=True, frameworks=[], cores=64)
    whole = node("b")
    kinds = [Kind(each, (each.node_id,)) for each in (bare, whole)]
    surveyed = survey(model(container=IMAGES), Wanted(), kinds)
    chosen = choose(surveyed, Outlook({"b": 500.0}))
    assert chosen is not None and chosen.node_id == "b"
    other = choose(surveyed, excluded=["b"])
    assert other is not None and other.framework.environment == "container:ort:1.31"


RANGES = (
    *("^1.x", "~1.2", ">=1 <2", "1.12", "=1.2.1", "*", "", "1.20.*", "==1.20.*"),
    *("^0.1", "^0.1.2", "1 - 2", ">1.2", "<=2.1", "~2"),
)


def test_what_nobody_knows_of_a_container_it_does_not_meet(model: Make, node: Make) -> None:
    wanted = Wanted(container=True, requires=["package.numpy>=2"])
    found = fit(model(container=IMAGES), wanted, node(containers=True))
    assert found.framework is None and "numpy" in found.failures[0].constraint


VERSIONS = [f"{a}.{b}.{c}" for a in range(4) for b in (0, 1, 2, 12, 19, 20, 21) for c in range(3)]


@pytest.mark.parametrize("wanted", RANGES)
def test_pip_takes_the_same_versions_as_npm(wanted: str) -> None:
    """packaging is pip's own reading of ranges; meets() agrees with npm's."""
    specifiers = SpecifierSet(for_pip(wanted) or "")
    assert {v for v in VERSIONS if v in specifiers} == {v for v in VERSIONS if meets(v, wanted)}


@pytest.mark.parametrize(
    ("ranges", "written"),
    [
        (("^1 || ^2",), ">=2.0.0,<3.0.0"),
        (("^1 || ^2", "1.20.*"), ">=1.0.0,<2.0.0,>=1.20.0,<1.21.0"),
        (("^1", "^2"), None),
        (("^1", ""), ">=1.0.0,<2.0.0"),
        (("", "*"), ""),
        ((">=2.0.0rc1",), ">=2.0.0rc1"),
        (("=1.2.3", "<=1.2.3"), "==1.2.3,<=1.2.3"),
    ],
)
def test_several_ranges_for_pip(ranges: tuple[str, ...], written: str | None) -> None:
    assert for_pip(*ranges) == written
