"""Settings of the web: where it listens, who may come in, how much it takes."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Settings:
    """How one web server runs; MLMS_WEB_<NAME> of each, or the options of `mlmodelscope web`."""

    host: str = "127.0.0.1"
    """Loopback needs no login; anything else needs `tokens`."""
    port: int = 7480
    """0 takes a free one."""
    tokens: str = ""
    """A file of lines `role name token`: who may come in, and what they may do."""
    public_hosts: str = ""
    """The names, with commas, under which a proxy serves this; others are refused."""
    proxy_header: str = ""
    """The header in which a proxy that logs people in names them: X-Forwarded-User, say."""
    proxy_addresses: str = ""
    """The proxy's own addresses or networks, with commas: from elsewhere the header is nothing."""
    proxy_groups_header: str = ""
    """The header in which it names their groups, with commas."""
    proxy_roles: str = ""
    """What each group may do: `GROUP=ROLE` with commas; `*` is everyone whom it lets in."""
    credentials: str = ""
    """A folder of NAME.json: as whom visitors who log in speak on a bus that is secured."""
    upload_bytes: int = 64 << 20
    """What one upload may hold."""
    uploads_bytes: int = 1 << 30
    """What all uploads may take on this machine's disk; the oldest make room."""
    warm_models: int = 4
    """How many models the Open Inference Protocol keeps open, and how many programs may hold open
    by REST; the longest unused makes room."""
    changes_a_minute: int = 240
    """How many requests that change something one visitor (or address) may send in a minute."""

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK

    @property
    def names(self) -> tuple[str, ...]:
        """The host names that a request may be for; empty: any."""
        named = tuple(filter(None, (part.strip() for part in self.public_hosts.split(","))))
        return (*LOOPBACK, "[::1]", *named) if self.on_loopback or named else ()
