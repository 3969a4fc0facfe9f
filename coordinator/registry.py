"""Which nodes are alive and what they can do: events in, answers out, no clock and no bus."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

import msgspec

from bus.messages import NodeAnnounced
from bus.subjects import token


@dataclass(frozen=True, slots=True)
class Gone:
    """One life of a node that ended, and how."""

    node_id: str
    incarnation: str
    why: str
    anew: bool = False
    """Whether another life of the same node has begun."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Nodes that are alike in everything that a request can ask for, in the order of their ids.

    A large site has few kinds: a request is held against each kind once, not each node.
    """

    example: NodeAnnounced
    nodes: tuple[str, ...]


class Registry:
    """A node is alive while its announcement and its heartbeat name the same incarnation."""

    def __init__(self) -> None:
        self._announced: dict[str, NodeAnnounced] = {}
        self._heartbeats: dict[str, str] = {}
        self._alive: dict[str, NodeAnnounced] = {}
        self._alike: dict[str, bytes] = {}
        self._groups: dict[bytes, list[str]] = {}
        self._kinds: dict[bytes, Kind] = {}

    # ---------------------------------------------------------------- events

    def announced(self, node_id: str, node: NodeAnnounced | None) -> list[Gone]:
        """A node said what it can do; None: its announcement was withdrawn or expired."""
        if node is None or node.node_id != node_id or token(node_id) != node_id:
            self._announced.pop(node_id, None)
        else:
            self._announced[node_id] = node
        return self._look_again(node_id)

    def heard(self, node_id: str, incarnation: str) -> list[Gone]:
        """A node's heart beat."""
        if self._heartbeats.get(node_id) == incarnation:
            return []  # by far the most frequent event there is
        self._heartbeats[node_id] = incarnation
        return self._look_again(node_id)

    def silent(self, node_id: str) -> list[Gone]:
        """A node's heartbeat expired or was withdrawn."""
        self._heartbeats.pop(node_id, None)
        return self._look_again(node_id)

    def _look_again(self, node_id: str) -> list[Gone]:
        before, node = self._alive.get(node_id), self._announced.get(node_id)
        beats = self._heartbeats.get(node_id)
        if node is not None and beats == node.incarnation:
            if before != node:
                self._alive[node_id] = node
                self._group(node_id, _alike(node))
        elif self._alive.pop(node_id, None):
            self._group(node_id, None)
        after = self._alive.get(node_id)
        if before is None or (after and after.incarnation == before.incarnation):
            return []
        now = {self._heartbeats.get(node_id), node.incarnation if node else None}
        anew = bool(now - {None, before.incarnation})
        why = "was started anew" if anew else "fell silent" if node else "left"
        return [Gone(node_id, before.incarnation, why, anew)]

    def _group(self, node_id: str, alike: bytes | None) -> None:
        """Put a node among those that are alike, and take it from where it was."""
        was = self._alike.pop(node_id, None)
        if alike is not None:
            self._alike[node_id] = alike
        if was == alike:
            return  # what it says anew is nothing that a request can ask for
        for key in filter(None, (was, alike)):
            self._kinds.pop(key, None)
        if was is not None:
            group = self._groups[was]
            del group[bisect_left(group, node_id)]
            if not group:
                del self._groups[was]
        if alike is not None:
            insort(self._groups.setdefault(alike, []), node_id)

    # ---------------------------------------------------------------- questions

    def get(self, node_id: str) -> NodeAnnounced | None:
        """A node that is alive, or None."""
        return self._alive.get(node_id)

    def alive(self, after: str = "", limit: int = 0) -> list[NodeAnnounced]:
        """The nodes that are alive, by id: those after one, up to `limit` of them (0: all)."""
        ids = sorted(node_id for node_id in self._alive if node_id > after)
        return [self._alive[node_id] for node_id in (ids[:limit] if limit else ids)]

    def __len__(self) -> int:
        return len(self._alive)

    def kinds(self) -> list[Kind]:
        """The nodes that are alive, those that are alike together."""
        for key, group in self._groups.items():
            if key not in self._kinds:
                self._kinds[key] = Kind(self._alive[group[0]], tuple(group))
        return sorted(self._kinds.values(), key=lambda kind: kind.nodes[0])

    def frameworks(self) -> list[str]:
        """The names of the frameworks that any node has."""
        return sorted({seen.name for kind in self.kinds() for seen in kind.example.frameworks})


def _alike(node: NodeAnnounced) -> bytes:
    """Everything about a node that constraints.py looks at, but its id."""
    return msgspec.msgpack.encode(
        (
            *(node.arch, node.cores, node.memory_bytes, node.devices, node.frameworks),
            *(node.allow_code, sorted(node.labels.items()), node.cpu, node.cpu_features),
            *(node.disk_bytes, node.system, node.distribution, node.kernel, node.containers),
            *(node.interconnect, node.slots, node.builds, node.builds_images),
            node.unavailable.get("containers"),
        )
    )
