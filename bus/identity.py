"""Who a connection is: its user and role, and the credentials that prove it to the bus."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any, Literal

import msgspec

from bus.errors import InputError
from bus.subjects import token

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
Role = Literal["client", "node", "service"]
ANONYMOUS = "anonymous"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A user of the bus; a file of it (JSON) is what `mlmodelscope secrets` makes.

    user: of a client its own name, of a node the node's id. seed: the secret half of its NKey
    (`SU…`); empty: the bus asks for none. ca: the certificate authority that signed the server's
    certificate, PEM; empty: no TLS, or the system's own authorities.
    """

    user: str = ANONYMOUS
    role: Role = "client"
    seed: str = ""
    ca: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.user):
            found = repr(self.user[:80])
            text = f"expected a user's name of letters, digits, _ and -, up to 64 (got {found})"
            raise InputError(text)

    def options(self) -> dict[str, Any]:
        """What nats-py needs to connect as this user.

        Replies come to an inbox of the user's own, so that nobody else may hear them.
        """
        options: dict[str, Any] = {"inbox_prefix": inbox_of(self.user)}
        if self.seed:
            options["nkeys_seed_str"] = self.seed
        if self.ca:
            options["tls"] = ssl.create_default_context(cadata=self.ca)
        return options


NOBODY = Identity()
"""Who has no credentials."""


def inbox_of(user: str) -> str:
    """What the subjects begin with on which a user hears the replies to its requests."""
    return f"_INBOX_{user}"


def read_identity(path: str | Path) -> Identity:
    """The identity in a credentials file; InputError naming the file and what is wrong."""
    try:
        return msgspec.json.decode(Path(path).expanduser().read_bytes(), type=Identity)
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        raise InputError(
            f"credentials {path}: {reason}; `mlmodelscope secrets` makes them"
        ) from exc
    except (msgspec.MsgspecError, InputError) as exc:
        raise InputError(
            f"credentials {path}: {exc}; expected the JSON file of one user that "
            "`mlmodelscope secrets` made"
        ) from exc


def needs_node(identity: Identity, node_id: str) -> str:
    """The node's id under these credentials; InputError where they belong to somebody else."""
    if not identity.seed:
        return node_id
    if identity.role != "node":
        raise InputError(
            f"the credentials of {identity.user} are a {identity.role}'s, not a node's"
        )
    if node_id and token(node_id) != identity.user:
        raise InputError(f"the credentials are of node {identity.user}, and the node is {node_id}")
    return identity.user
