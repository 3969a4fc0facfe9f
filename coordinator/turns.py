"""Who goes next: of the jobs that wait, by priority, then by fair shares, then by age. Pure.

Within a priority each user's jobs are laid on a line of that user's own: a job begins where what
the user had lately, and has waiting before it, ends, divided by the user's share. The job that
begins first goes first (start-time fair queueing, Goyal, Vin and Cheng, 1996): whoever had less
goes before whoever had more, and nobody is passed over for ever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bus.errors import InputError
from bus.messages import JobRecord

HALF_LIFE_S = 600.0
"""After so long, what a user had counts half."""
NOMINAL_S = 1.0
"""What a job counts for that nothing is known of."""
LEAST_S = 0.1
"""What every job counts at least, once it has ended."""
PRIORITIES = range(-10, 11)


def cost_s(record: JobRecord) -> float:
    """What a job is expected to take of its node."""
    return record.expected_s or NOMINAL_S


def in_turn(
    waiting: Iterable[JobRecord], used_s: Mapping[str, float], shares: Mapping[str, float]
) -> list[JobRecord]:
    """The jobs in the order in which they are to begin.

    used_s: what each user had lately; shares: how much more one user may have than another (1).
    """
    by_user: dict[str, list[JobRecord]] = defaultdict(list)
    for record in waiting:
        by_user[record.job.user].append(record)
    ranked = []
    for user, own in by_user.items():
        begins_s, share = used_s.get(user, 0.0), shares.get(user, 1.0)
        for record in sorted(own, key=_own_order):
            ranked.append((-record.priority, begins_s / share, _own_order(record), record))
            begins_s += cost_s(record)
    ranked.sort(key=lambda one: one[:3])
    return [record for *_, record in ranked]


def _own_order(record: JobRecord) -> tuple[int, int, str]:
    return -record.priority, record.job.submitted_ns, record.job.job_id


def in_queue_order(
    on_node: Iterable[JobRecord], used_s: Mapping[str, float], shares: Mapping[str, float]
) -> list[JobRecord]:
    """All the jobs of one node: what runs, what lies in its queue, then what is held for it."""
    records = list(on_node)
    held = [record for record in records if record.held]
    there = [record for record in records if not record.held]
    there.sort(key=lambda record: (record.state != "running", record.changed_ns))
    return [*there, *in_turn(held, used_s, shares)]


@dataclass
class Used:
    """What users had of the fleet lately: seconds, which count half after each half-life."""

    _had_s: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, user: str, seconds: float, at_ns: int) -> None:
        """A job of theirs ended."""
        before_s, since_ns = self._had_s.get(user, (0.0, at_ns))
        at_ns = max(at_ns, since_ns)
        self._had_s[user] = _decayed(before_s, at_ns - since_ns) + max(LEAST_S, seconds), at_ns

    def at(self, now_ns: int) -> dict[str, float]:
        """What each user had, as it counts now."""
        found = {
            user: _decayed(had_s, max(0, now_ns - at_ns))
            for user, (had_s, at_ns) in self._had_s.items()
        }
        for user in [user for user, had_s in found.items() if had_s < 1e-3]:
            del self._had_s[user], found[user]
        return found


def _decayed(seconds: float, passed_ns: int) -> float:
    return float(seconds * 0.5 ** (passed_ns / 1e9 / HALF_LIFE_S))


def read_shares(text: str) -> dict[str, float]:
    """`ann=2,ben=0.5` as a map; InputError naming the part that is not."""
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        user, _, share = part.partition("=")
        try:
            found[user.strip()] = float(share)
        except ValueError:
            found[user.strip()] = 0.0
        if found[user.strip()] <= 0 or not user.strip():
            raise InputError(f"MLMS_SHARES: expected USER=SHARE above 0, like ann=2 (got {part!r})")
    return found
