"""What each role may say and hear on the bus: nats-server enforces it, nobody else has to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bus import subjects as s
from bus.identity import Identity, inbox_of

JS = "$JS.API"
BUCKETS = (
    s.NODES_BUCKET,
    s.ALIVE_BUCKET,
    s.JOBS_BUCKET,
    s.EVALUATIONS_BUCKET,
    s.MANIFESTS_BUCKET,
    s.DATASETS_BUCKET,
    s.RAN_BUCKET,
    s.LEASES_BUCKET,
)
STORES = (s.OBJECTS, s.MODEL_OBJECTS)
MICRO = "$SRV"
ANY = "<any>"  # a blank to bus/subjects.py, a wildcard to nats-server


class Permissions(NamedTuple):
    """Subjects that a user may publish to and subscribe to; replies: may it answer requests?"""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    replies: bool = False


def permissions(identity: Identity) -> Permissions:
    """What this user may do."""
    return {"client": _client, "node": _node, "service": _service}[identity.role](identity.user)


def _client(user: str) -> Permissions:
    """Asks as itself, tells its own spans and what it imports, hears its own evaluations.

    It may create no consumer: one delivers wherever its maker says, also where the maker may not
    speak. What it has to catch up with, a coordinator tells.
    """
    mine = [s.span("client", user, ANY), s.metric("client", user, ANY)]
    told = [s.fact(s.IMPORTED, user, ANY, ANY), s.span(s.IMPORTED, user, ANY)]
    told += [s.metric(s.IMPORTED, user, ANY)]
    return Permissions(
        publish=(
            s.asked_by(f"{s.ROOT}.request.*", user),
            s.predict_on("*"),
            s.close_on("*"),
            s.ceilings_on("*"),
            s.image_on("*"),
            *mine,
            *told,
            *(place for store in STORES for place in (*_reading(store), *_writing(store))),
        ),
        subscribe=(f"{inbox_of(user)}.>", s.facts_of("*", user)),
    )


def _node(node_id: str) -> Permissions:
    """Says what it is, takes the jobs that are its own, tells facts under its own name alone."""
    consumer = s.job_consumer(node_id)
    return Permissions(
        publish=(
            s.key_change(s.NODES_BUCKET, node_id),
            s.key_change(s.ALIVE_BUCKET, node_id),
            s.key_change(s.JOBS_BUCKET, "*"),
            s.key_change(s.RAN_BUCKET, node_id),
            s.key_change(s.LEASES_BUCKET, "*.*"),  # of a machine's device, whichever it is
            s.key_change(s.LEASES_BUCKET, "*.*.wanted"),
            *(f"{JS}.STREAM.INFO.KV_{name}" for name in BUCKETS),
            *(f"{JS}.STREAM.MSG.GET.KV_{name}" for name in BUCKETS),
            *(f"{JS}.DIRECT.GET.KV_{name}.>" for name in BUCKETS),
            f"{JS}.CONSUMER.CREATE.{s.JOBS_STREAM}.{consumer}.{s.job(node_id)}",
            f"{JS}.CONSUMER.DELETE.{s.JOBS_STREAM}.{consumer}",
            f"{JS}.CONSUMER.MSG.NEXT.{s.JOBS_STREAM}.{consumer}",
            f"$JS.ACK.{s.JOBS_STREAM}.{consumer}.>",
            s.fact(node_id, ANY, ANY, ANY),
            s.span(node_id, ANY, ANY),
            s.metric(node_id, ANY, ANY),
            s.dead(s.job(node_id)),
            s.asked_by(s.CLOCK, node_id),
            *(place for store in STORES for place in _reading(store)),
            *_writing(s.OBJECTS),
        ),
        subscribe=(
            f"{inbox_of(node_id)}.>",
            f"{s.ROOT}.node.{node_id}.>",
            s.key_change(s.JOBS_BUCKET, "*"),
            s.key_change(s.LEASES_BUCKET, "*.*"),
            s.key_change(s.LEASES_BUCKET, "*.*.wanted"),
            f"{MICRO}.>",
        ),
        replies=True,
    )


def _service(user: str) -> Permissions:
    """Coordinators and collectors: they are what the others trust."""
    return Permissions(
        publish=(f"{s.ROOT}.>", "$KV.>", "$O.>", f"{JS}.>", "$JS.ACK.>", "$JS.FC.>", f"{MICRO}.>"),
        subscribe=(f"{inbox_of(user)}.>", f"{s.ROOT}.>", "$KV.>", f"{MICRO}.>"),
        replies=True,
    )


def _reading(store: str) -> tuple[str, ...]:
    stream = f"OBJ_{store}"
    return (
        f"{JS}.STREAM.INFO.{stream}",
        f"{JS}.STREAM.MSG.GET.{stream}",
        f"{JS}.DIRECT.GET.{stream}",
    )


def _writing(store: str) -> tuple[str, ...]:
    return (f"$O.{store}.C.*", f"$O.{store}.M.*")


def server_users(users: Iterable[tuple[str, Identity]]) -> str:
    """The `authorization` block of a nats-server's configuration: (public key, identity) each."""
    blocks = []
    for public, identity in users:
        allowed = permissions(identity)
        lines = [
            f"publish: {{ allow: {_list(allowed.publish)} }}",
            f"subscribe: {{ allow: {_list(allowed.subscribe)} }}",
        ]
        if allowed.replies:
            # A job's model may take minutes to open; streamed answers are one message each.
            lines.append('allow_responses: { max: 16, expires: "10m" }')
        inside = "\n        ".join(lines)
        blocks.append(
            f"    # {identity.role} {identity.user}\n"
            f"    {{ nkey: {public}, permissions: {{\n        {inside}\n    }} }}"
        )
    return "authorization {\n  users: [\n" + ",\n".join(blocks) + "\n  ]\n}\n"


def _list(subjects: tuple[str, ...]) -> str:
    allowed = dict.fromkeys(subject.replace(ANY, "*") for subject in subjects)
    return "[" + ", ".join(f'"{subject}"' for subject in allowed) + "]"
