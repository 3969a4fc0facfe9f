"""What a node would have to get ready first to run a model: a container, or an environment.

Either is named by a job's environment, so that whoever reads it knows what ran: `container:IMAGE`,
`dockerfile:DIGEST` or `pip:REQUIREMENT,…`. A node's own environments go before both, unless the
request asks for the container.
"""

from __future__ import annotations

import hashlib

from bus.messages import Failure, FrameworkSeen, Level, Manifest, NodeAnnounced, Wanted
from coordinator.words import architecture, same_framework
from manifests.rules import requirement
from manifests.version import for_pip, parse_reference

CONTAINER, DOCKERFILE, PIP = "container:", "dockerfile:", "pip:"
IN_A_CONTAINER: list[Level] = ["library", "system"]
"""What profilers can look at with no more rights than a container has; the rest says why not."""
MENDED = ("framework", "environment", "code", "framework device")
"""Failures that software of its own makes good; versions and packages are told by their names."""

Builds = tuple[tuple[FrameworkSeen, ...], list[Failure]]


def is_provisioned(environment: str) -> bool:
    """Whether an environment is made ready for the job, and is not there before it."""
    return environment.startswith((CONTAINER, DOCKERFILE, PIP))


def provided(manifest: Manifest, wanted: Wanted, node: NodeAnnounced, own: Builds) -> Builds:
    """The builds that a node has, or else the one that it can get ready for this request."""
    _, failures = own
    asked = parse_reference(wanted.framework)[0] if wanted.framework else manifest.framework.name
    if not same_framework(asked, manifest.framework.name):
        return own  # a model for another framework than the one that is wanted
    boxed = _container(manifest, wanted, node)
    if wanted.container and isinstance(boxed, Failure):
        return (), [boxed, *(f for f in failures if not _mended(f))]
    if not failures and not wanted.container:
        return own
    named = is_provisioned(wanted.environment)
    for made in (boxed, _installed(manifest, wanted, node)):
        if not isinstance(made, FrameworkSeen):
            continue
        if wanted.environment and not (named and wanted.environment == made.environment):
            continue
        inside = made.environment.startswith((CONTAINER, DOCKERFILE))
        if wanted.container and not inside:
            continue
        left = [f for f in failures if not _mended(f, code=inside)]
        return ((made,), []) if not left else ((), left)
    return own


def _mended(failure: Failure, code: bool = True) -> bool:
    if failure.constraint == "code":
        return code  # an environment of a node lets no more code in than the node does
    name = failure.constraint
    return name in MENDED or name.endswith(" version") or name.startswith("package ")


def _container(manifest: Manifest, wanted: Wanted, node: NodeAnnounced) -> FrameworkSeen | Failure:
    """The manifest's container as a build; or why this node has none for it."""
    device = wanted.device or "cpu"
    images = {
        (architecture(arch), kind): f"{arch}/{kind} {image}"
        for arch, of_devices in manifest.container.items()
        for kind, image in of_devices.items()
    }
    image = images.get((architecture(node.arch), device), "").partition(" ")[2]
    if not image and not manifest.dockerfile:
        has = ", ".join(sorted(images.values())) or "a manifest that names none"
        text = f"an image for {node.arch}/{device}"
        return Failure(constraint="container", wanted=text, has=has)
    if not node.containers:
        has = node.unavailable.get("containers", "a node that runs none")
        return Failure(constraint="container", wanted="a node that runs containers", has=has)
    if not image and not node.builds_images:
        allowing = "a node that builds a manifest's Dockerfile (--build-images)"
        return Failure(constraint="container", wanted=allowing, has="a node that does not")
    _, asked = parse_reference(wanted.framework) if wanted.framework else ("", "")
    if asked:
        return Failure(
            constraint=f"{manifest.framework.name} version",
            wanted=asked,
            has="a container, whose version is known when it runs",
        )
    name = f"{CONTAINER}{image}" if image else f"{DOCKERFILE}{dockerfile_digest(manifest)}"
    return _build(manifest, name, device)


def dockerfile_digest(manifest: Manifest) -> str:
    """What a Dockerfile is known by: its content."""
    return hashlib.sha256(manifest.dockerfile.encode()).hexdigest()[:16]


def _installed(manifest: Manifest, wanted: Wanted, node: NodeAnnounced) -> FrameworkSeen | None:
    """An environment that the node would make with pip, if it may and there can be one."""
    name = next((n for n in node.builds if same_framework(n, manifest.framework.name)), "")
    if not name or (wanted.device or "cpu") != "cpu":
        return None
    _, asked = parse_reference(wanted.framework) if wanted.framework else ("", "")
    version = for_pip(manifest.framework.version, asked)
    if version is None:
        return None
    wishes = [f"{name}{version}"]
    for text in manifest.model.requires:
        package, package_range = requirement(text)
        wishes.append(f"{package}{for_pip(package_range) or ''}")
    return _build(manifest, f"{PIP}{' '.join(wishes)}", "cpu")


def _build(manifest: Manifest, environment: str, device: str) -> FrameworkSeen:
    return FrameworkSeen(
        name=manifest.framework.name,
        version="",
        devices=[device],
        environment=environment,
        levels=IN_A_CONTAINER,
    )
