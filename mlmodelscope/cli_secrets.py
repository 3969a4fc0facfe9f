"""The command that makes the keys and the configuration of a secured bus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mlmodelscope.exits import OK, guarded


def secrets(
    folder: Path,
    /,
    *,
    client: Annotated[str, Parameter(help="Names of users, separated by commas.")] = "",
    node: Annotated[str, Parameter(help="Ids of nodes, separated by commas.")] = "",
    host: Annotated[str, Parameter(help="Names and addresses of the bus.")] = "localhost,127.0.0.1",
    port: Annotated[int, Parameter(help="Where the bus will listen.")] = 4222,
) -> int:
    """Make the keys, certificates and nats-server configuration of a secured bus.

    Each client and node gets a credentials file (NAME.json), coordinators and collectors share
    services.json. Whoever was made before stays; name a new one to add it.

    For example:

        mlmodelscope secrets ./secrets --client ann,bob --node n1 --host bus.example.org

        nats-server -c ./secrets/nats-secure.conf

        mlmodelscope node --bus tls://bus.example.org:4222 --credentials ./secrets/n1.json

        mlmodelscope evaluate MNIST-CNN --bus tls://bus.example.org:4222 \
--credentials ./secrets/ann.json
    """

    def make() -> int:
        from mlmodelscope.secrets import Plan, make_secrets

        plan = Plan(clients=_names(client), nodes=_names(node), hosts=_names(host), port=port)
        for path in make_secrets(folder, plan):
            print(path)
        print(f"Keep {folder / 'ca.key'} where nobody else reads it; docs/security.md says more.")
        return OK

    return guarded(make)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
