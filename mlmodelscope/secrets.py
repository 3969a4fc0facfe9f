"""Makes what a secured bus needs: a certificate authority, a server's certificate, users' keys."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import msgspec

from bus.errors import InputError
from bus.identity import Identity, Role, read_identity
from bus.permissions import server_users
from bus.senders import RESERVED

SERVICE = "services"
USERS = """\
# Made by `mlmodelscope secrets`: who may connect, and what each may say and hear.
# `include` it in a configuration of your own, beside a `tls` block with server.pem and server.key.

{users}"""
NATS_CONFIG = """\
# Made by `mlmodelscope secrets`. Begin with it:  nats-server -c nats-secure.conf

port: {port}
max_payload: 8MB
jetstream {{ store_dir: {store} }}
tls {{
  cert_file: {certificate}
  key_file: {key}
}}

include ./users.conf
"""


@dataclass(frozen=True)
class Plan:
    """Who is to be let in: names of clients, ids of nodes; hosts: the server's names, addresses."""

    clients: Sequence[str] = ()
    nodes: Sequence[str] = ()
    hosts: Sequence[str] = ("localhost", "127.0.0.1")
    port: int = 4222

    def users(self) -> list[tuple[str, Role]]:
        """Everyone, the services first; InputError for a name that cannot be one."""
        everyone: list[tuple[str, Role]] = [(SERVICE, "service")]
        everyone += [(name, "client") for name in self.clients]
        everyone += [(name, "node") for name in self.nodes]
        names = [name for name, _ in everyone]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"{twice[0]} is named twice: each user needs a name of its own")
        if taken := sorted({*names} & {*RESERVED}):
            raise InputError(f"{taken[0]} is a name that the system uses itself: choose another")
        return everyone


def make_secrets(folder: Path, plan: Plan) -> list[Path]:
    """Write everything into a folder; what was made. Keys that are there already stay valid.

    ca.key signs later certificates: keep it elsewhere. Raises InputError for a bad name or host,
    or where what it needs is not installed.
    """
    users = plan.users()
    for name, role in users:
        Identity(user=name, role=role)  # refuses a bad name before anything is written
    certificates = _certificates()
    certificates.check_hosts(plan.hosts)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _written(folder, plan, certificates)
    except OSError as exc:
        raise InputError(f"{exc.filename or folder}: {exc.strerror}; expected a folder") from exc


def _written(folder: Path, plan: Plan, certificates: ModuleType) -> list[Path]:
    users = plan.users()
    authority = certificates.authority(folder)
    made = [folder / "ca.pem", *certificates.server_certificate(folder, plan.hosts)]
    listed = []
    for name, role in [*users, *_others(folder, {name for name, _ in users})]:
        path = folder / f"{name}.json"
        identity = _identity(path, name, role, authority)
        listed.append((_public(identity.seed), identity))
        made.append(path)
    config = folder / "nats-secure.conf"
    quoted = {"store": folder / "data", "certificate": folder / "server.pem"}
    quoted["key"] = folder / "server.key"
    paths = {
        name: msgspec.json.encode(str(path.resolve())).decode() for name, path in quoted.items()
    }
    users_file = folder / "users.conf"
    users_file.write_text(USERS.format(users=server_users(listed)))
    config.write_text(NATS_CONFIG.format(port=plan.port, **paths))
    return [*made, users_file, config]


def _others(folder: Path, named: set[str]) -> list[tuple[str, Role]]:
    """Users that were made before and are not named now: they stay."""
    there = [read_identity(path) for path in sorted(folder.glob("*.json"))]
    return [(one.user, one.role) for one in there if one.user not in named]


def _identity(path: Path, name: str, role: Role, authority: str) -> Identity:
    if path.exists():
        there = read_identity(path)
        if there.role != role:
            raise InputError(
                f"{path} is a {there.role}'s: expected a {role}'s; choose another name"
            )
        return there
    identity = Identity(user=name, role=role, seed=_new_seed(), ca=authority)
    _certificates().write_secret(path, msgspec.json.format(msgspec.json.encode(identity), indent=1))
    return identity


def _new_seed() -> str:
    nkeys = _nkeys()
    return str(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode())


def _public(seed: str) -> str:
    return str(_nkeys().from_seed(bytearray(seed.encode())).public_key.decode())


def _certificates() -> ModuleType:
    return _needed("mlmodelscope.certificates")


def _nkeys() -> ModuleType:
    return _needed("nkeys")


def _needed(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as exc:
        raise InputError(f"{exc}: pip install 'mlmodelscope[secure]'") from exc
