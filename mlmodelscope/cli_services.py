"""The commands that run services: all of them on this machine, or one against a bus."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from mlmodelscope.exits import guarded


def up() -> int:
    """Run everything on this machine until Ctrl-C: bus, database, coordinator, collector, node.

    Other commands on the same data folder (MLMS_HOME) join it.

    For example:

        mlmodelscope up

        MLMS_HOME=/data/mlms mlmodelscope up
    """
    from mlmodelscope import running

    return guarded(lambda: running.up(os.environ))


STATUS_HELP = "HOST:PORT of /healthz, /readyz, /status and /metrics; port 0 takes a free one."
Status = Annotated[str, Parameter(help=STATUS_HELP, env_var="MLMS_STATUS")]
BusUrl = Annotated[str, Parameter(help="NATS URL.", env_var="MLMS_BUS_URL")]
LOCAL_BUS = "nats://127.0.0.1:4222"


def coordinator(*, bus: BusUrl = LOCAL_BUS, status: Status = "127.0.0.1:0") -> int:
    """Run one coordinator; any number may run.

    For example:

        mlmodelscope coordinator --bus nats://10.0.0.5:4222 --status 0.0.0.0:7401
    """
    from mlmodelscope import running

    return guarded(lambda: running.role("coordinator", bus, status, os.environ))


def collector(
    *,
    bus: BusUrl = LOCAL_BUS,
    mongo: Annotated[
        str, Parameter(env_var="MLMS_MONGO_URL", help="MongoDB URL.")
    ] = "mongodb://127.0.0.1:27017",
    status: Status = "127.0.0.1:0",
) -> int:
    """Run one collector; any number may run on one database.

    For example:

        mlmodelscope collector --bus nats://10.0.0.5:4222 --mongo mongodb://10.0.0.6:27017
    """
    from mlmodelscope import running

    return guarded(lambda: running.role("collector", bus, status, os.environ, mongo_url=mongo))


def node(
    *,
    bus: BusUrl = LOCAL_BUS,
    id: Annotated[str | None, Parameter(help="Its name. Default: the host's.")] = None,
    labels: Annotated[str | None, Parameter(help="key=value,key=value")] = None,
    status: Status = "127.0.0.1:0",
) -> int:
    """Run one predictor node: it takes jobs and measures them.

    For example:

        mlmodelscope node --bus nats://10.0.0.5:4222 --labels room=12,owner=ann
    """
    from mlmodelscope import running

    return guarded(lambda: running.role("node", bus, status, os.environ, node_id=id, labels=labels))
