"""The commands that run services: all of them on this machine, or one against a bus."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from mlmodelscope.exits import guarded


@Parameter(name="*")
@dataclass(frozen=True)
class Frameworks:
    """What a node can load beyond the frameworks of its own Python."""

    environment: Annotated[list[str] | None, Parameter(negative="")] = None
    """NAME=PYTHON: a virtual environment's Python whose frameworks are run too; may be given
    several times. Default: MLMS_ENVIRONMENTS."""
    plugin: Annotated[list[str] | None, Parameter(negative="")] = None
    """NAME=FILE: a framework that no package brings: its module's file; may be given several
    times. Default: MLMS_FRAMEWORKS."""
    profiler: Annotated[list[str] | None, Parameter(negative="")] = None
    """NAME=FILE: a profiler that no package brings: its module's file; may be given several times.
    Default: MLMS_PROFILERS."""
    allow_code: bool | None = None
    """Let the code in manifests run here. Default: MLMS_ALLOW_CODE, else no."""
    containers: Literal["auto", "never"] | None = None
    """auto: run the containers that manifests name, where a Docker engine does; never: do not.
    Default: MLMS_CONTAINERS, else auto."""
    build_environments: bool | None = None
    """Install the framework version that a request wants, with pip, in an environment of its own.
    Default: MLMS_BUILD_ENVIRONMENTS, else no."""
    build_images: bool | None = None
    """Build the Dockerfiles that manifests bring. Default: MLMS_BUILD_IMAGES, else no."""

    def settings(self) -> dict[str, Any]:
        """What was given, as fields of the node's Settings."""
        return {
            "environments": self.environment and ",".join(self.environment),
            "frameworks": self.plugin and ",".join(self.plugin),
            "profilers": self.profiler and ",".join(self.profiler),
            "allow_code": self.allow_code,
            "containers": self.containers,
            "build_environments": self.build_environments,
            "build_images": self.build_images,
        }

    def variables(self) -> dict[str, str]:
        """The same as environment variables, for a system that another process starts."""
        given = {name: value for name, value in self.settings().items() if value is not None}
        return {
            f"MLMS_{name.upper()}": str(int(value)) if isinstance(value, bool) else value
            for name, value in given.items()
        }


OWN = Frameworks()
"""The frameworks of the node's own Python, and what the environment variables name."""


def up(
    *,
    web_port: Annotated[int | None, Parameter(env_var="MLMS_WEB_PORT")] = None,
    frameworks: Frameworks = OWN,
) -> int:
    """Run everything on this machine until Ctrl-C: bus, database, coordinator, collector, node.

    Other commands on the same data folder (MLMS_HOME) join it.

    For example:

        mlmodelscope up

        mlmodelscope up --web-port 7480

        MLMS_HOME=/data/mlms mlmodelscope up

        mlmodelscope up --environment old=$HOME/envs/ort-1.20/bin/python

    Parameters
    ----------
    web_port
        Serve the pages and the REST interface too, on this machine's port (0: a free one).
    """
    from mlmodelscope import running

    return guarded(lambda: running.up({**os.environ, **frameworks.variables()}, web_port))


STATUS_HELP = "HOST:PORT of /healthz, /readyz, /status and /metrics; port 0 takes a free one."
Status = Annotated[str, Parameter(help=STATUS_HELP, env_var="MLMS_STATUS")]
BusUrl = Annotated[str, Parameter(help="NATS URL.", env_var="MLMS_BUS_URL")]
Credentials = Annotated[
    str | None,
    Parameter(help="Credentials file of a secured bus.", env_var="MLMS_CREDENTIALS"),
]
LOCAL_BUS = "nats://127.0.0.1:4222"


def coordinator(
    *, bus: BusUrl = LOCAL_BUS, credentials: Credentials = None, status: Status = "127.0.0.1:0"
) -> int:
    """Run one coordinator; any number may run.

    For example:

        mlmodelscope coordinator --bus nats://10.0.0.5:4222 --status 0.0.0.0:7401
    """
    from mlmodelscope import running

    return guarded(lambda: running.role("coordinator", bus, status, _env(credentials)))


def collector(
    *,
    bus: BusUrl = LOCAL_BUS,
    mongo: Annotated[
        str, Parameter(env_var="MLMS_MONGO_URL", help="MongoDB URL.")
    ] = "mongodb://127.0.0.1:27017",
    credentials: Credentials = None,
    status: Status = "127.0.0.1:0",
) -> int:
    """Run one collector; any number may run on one database.

    For example:

        mlmodelscope collector --bus nats://10.0.0.5:4222 --mongo mongodb://10.0.0.6:27017
    """
    from mlmodelscope import running

    return guarded(
        lambda: running.role("collector", bus, status, _env(credentials), mongo_url=mongo)
    )


def node(
    *,
    bus: BusUrl = LOCAL_BUS,
    id: Annotated[str | None, Parameter(help="Its name. Default: the host's.")] = None,
    labels: Annotated[str | None, Parameter(help="key=value,key=value")] = None,
    frameworks: Frameworks = OWN,
    credentials: Credentials = None,
    status: Status = "127.0.0.1:0",
) -> int:
    """Run one predictor node: it takes jobs and measures them.

    For example:

        mlmodelscope node --bus nats://10.0.0.5:4222 --labels room=12,owner=ann

        mlmodelscope node --bus nats://10.0.0.5:4222 --environment old=/envs/ort-1.20/bin/python
    """
    from mlmodelscope import running

    given = {"node_id": id, "labels": labels, **frameworks.settings()}
    return guarded(lambda: running.role("node", bus, status, _env(credentials), **given))


def _env(credentials: str | None) -> dict[str, str]:
    return {**os.environ, **({"MLMS_CREDENTIALS": credentials} if credentials else {})}
