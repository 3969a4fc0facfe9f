"""Gets the environment of a job ready: one of the node's own, a container's, or one just built."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from bus.errors import MLModelScopeError
from bus.messages import ImageDescribed, Manifest
from predictor_node import capabilities
from predictor_node.assets import AssetsInUse
from predictor_node.built_environments import Builder
from predictor_node.container_settings import Allowed
from predictor_node.container_worker import ContainerEnvironment
from predictor_node.containers import ContainerError, Engine, ImageSeen
from predictor_node.downloads import Told
from predictor_node.launching import Limits
from predictor_node.process import Environment

CONTAINER, DOCKERFILE, PIP = "container:", "dockerfile:", "pip:"
BUILT_IMAGE = "mlmodelscope-built"


class NoEnvironment(MLModelScopeError):
    """The node has changed since the job was placed on it."""

    kind = "framework"


def is_boxed(environment: str) -> bool:
    """Whether jobs of an environment run in a container."""
    return environment.startswith((CONTAINER, DOCKERFILE))


@dataclass
class Provision:
    """Every environment that a node can offer. engine: None where it runs no containers."""

    node_id: str
    own: dict[str, Environment]
    folder: Path
    """For what containers write, and for the sockets that they speak by."""
    builder: Builder | None = None
    engine: Engine | None = None
    builds_images: bool = False
    allowed: Allowed = Allowed()
    _boxed: dict[tuple[str, str], ContainerEnvironment] = field(default_factory=dict)
    _describing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def environment(
        self, name: str, manifest: Manifest, assets: AssetsInUse, told: Told
    ) -> Environment:
        """The environment of this name, ready; it may take minutes, of which `told` hears.

        A built one stays while `assets` are in use. Raises NoEnvironment, ContainerError …
        """
        if found := self.own.get(name):
            return found
        if name.startswith(PIP) and self.builder is not None:
            return await self.builder.environment(name.removeprefix(PIP), assets, told)
        if is_boxed(name) and self.engine is not None:
            if name.startswith(CONTAINER):
                image = await self.engine.image(name.removeprefix(CONTAINER), told)
            else:
                image = await self._built(name.removeprefix(DOCKERFILE), manifest, told)
            return await self._of_image(name, image, told)
        has = ", ".join(self.own)
        text = f"node {self.node_id} has no environment {name} any more, only: {has}"
        raise NoEnvironment(f"{text}; ask again")

    async def describe_image(self, name: str) -> ImageDescribed:
        """What is in an image, as a worker there sees it."""
        if self.engine is None:
            raise ContainerError(f"node {self.node_id} runs no containers")

        def told(text: str, done: int, total: int) -> None:
            pass

        image = await self.engine.image(name, told)
        environment = await self._of_image(f"{CONTAINER}{name}", image, told)
        return ImageDescribed(
            node_id=self.node_id, architecture=image.architecture, stack=environment.stack
        )

    async def _built(self, digest: str, manifest: Manifest, told: Told) -> ImageSeen:
        assert self.engine is not None
        if not self.builds_images:
            raise NoEnvironment(f"node {self.node_id} builds no images any more: ask again")
        text = manifest.dockerfile
        if hashlib.sha256(text.encode()).hexdigest()[:16] != digest:
            raise ContainerError(f"the manifest's Dockerfile is not {digest}, which was asked for")
        return await self.engine.build(text, f"{BUILT_IMAGE}:{digest}", told)

    async def _of_image(self, name: str, image: ImageSeen, told: Told) -> ContainerEnvironment:
        """An image is looked into once; its name may mean another one the next time."""
        here = capabilities.architecture()
        if image.architecture != here:
            raise ContainerError(
                f"image {image.name} was made for {image.architecture}, and this node is {here}"
            )
        async with self._describing:
            if (known := self._boxed.get((name, image.digest))) is not None:
                return known
            told(f"looking into image {image.name}", 0, 0)
            made = ContainerEnvironment(
                name=name,
                allow_code=True,  # whatever it does, it does in there
                plugins=dict(self.own["default"].offered_plugins),
                profilers=dict(self.own["default"].offered_profilers),
                scratch=self.folder / hashlib.sha256(name.encode()).hexdigest()[:12] / "own",
                engine=self.engine,
                image=image,
                limits=Limits(memory_bytes=self.allowed.most_bytes),
            )
            await made.describe()
            self._boxed[(name, image.digest)] = made
            return made
