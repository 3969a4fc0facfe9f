"""Whether a stored message says the same of its sender as the subject that it came on.

nats-server lets each user publish under its own name only, so the subject is true.
"""

from __future__ import annotations

from bus import subjects
from bus.messages import (
    EvaluationFailed,
    EvaluationFinished,
    Fact,
    Message,
    MetricsRecorded,
    SpansRecorded,
)

COORDINATOR, CLIENT = "coordinator", "client"
RESERVED = (COORDINATOR, CLIENT, subjects.IMPORTED)
"""Names that no node may have."""


def sender_of(subject: str) -> str:
    """Who tells a fact, spans or metrics on this subject."""
    return subject.split(".")[3]


def user_of(subject: str) -> str:
    """Whose evaluation it is that something is told of on this subject."""
    return subject.split(".")[4]


def forged(subject: str, message: Message) -> str:
    """How a message and its subject contradict each other, or nothing."""
    if subject.count(".") < 5:
        return f"{subject} names no sender and no user"
    sender = sender_of(subject)
    if isinstance(message, Fact):
        said = {message.node_id}
    elif isinstance(message, EvaluationFinished | EvaluationFailed):
        said = {COORDINATOR, subjects.IMPORTED}
    elif isinstance(message, SpansRecorded | MetricsRecorded):
        said = {message.node_id} if message.node_id else {COORDINATOR, CLIENT}
    else:
        return ""
    if sender in said:
        return ""
    return f"{type(message).__name__} of {' or '.join(sorted(said))} came from {sender}"
