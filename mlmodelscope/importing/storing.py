"""Gives a profile that was read to the bus, where the collector stores it like any other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bus import subjects
from bus.connection import Bus
from bus.errors import BusFullError, NoAnswerError, RefusedError
from bus.holding import Most
from bus.messages import (
    GetTimeline,
    GetUsage,
    Message,
    NotFound,
    Recording,
    TimelineChunk,
    Usage,
)
from mlmodelscope.importing import batches, facts
from mlmodelscope.importing.batches import NODE, SOURCE, Names
from mlmodelscope.importing.files import Content, Progress
from mlmodelscope.importing.profile import Options, Profile
from mlmodelscope.importing.reading import read, silently

WINDOW = 32
"""How many messages may be on their way to the bus."""
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one file.

    timeline: the head of what is stored. again: it was there already, and nothing was sent.
    """

    path: Path
    evaluation_id: str
    profile: Profile
    recording: Recording
    timeline: TimelineChunk
    again: bool


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message on its way; the bus keeps only the first with the same `dedupe`."""

    subject: str
    message: Message
    dedupe: str


async def import_profile(
    bus: Bus,
    user: str,
    path: Path,
    options: Options | None = None,
    progress: Progress = silently,
) -> Imported:
    """Read one file and store it; the same file (and options) again changes nothing.

    Raises InputError for a file that is no profile, RefusedError where its user may hold no more.
    """
    options = options or Options()
    content, profile = await asyncio.to_thread(read, path, options, progress)
    names, held = await _free_or_held(bus, content, options)
    about = facts.recording(content, profile)
    if held is not None and held.complete:
        return Imported(path, names.evaluation_id, profile, about, held, again=True)
    await _room_for_more(bus, user)
    number = await _send_recorded(bus, user, names, profile, progress)
    told = facts.facts(
        facts.Import(content, profile, options, names), now_ns=time.time_ns(), batches=number
    )
    for sequence, fact in enumerate(told):
        subject = subjects.fact(NODE, user, names.evaluation_id, type(fact).__name__)
        await bus.record(subject, fact, dedupe=f"{names.job_id}/1/{sequence}")
    progress("assembling the timeline", 0, 0)
    stored = await _until_stored(bus, names)
    return Imported(path, names.evaluation_id, profile, about, stored, again=False)


async def _room_for_more(bus: Bus, user: str) -> None:
    """RefusedError where the collectors would not store it."""
    usage = await bus.request(subjects.USAGE, GetUsage(user=user), Usage)
    if text := Most(usage.most_bytes, usage.most_spans).stands_against(usage):
        raise RefusedError(text, "user_limit", usage)


async def _free_or_held(
    bus: Bus, content: Content, options: Options
) -> tuple[Names, TimelineChunk | None]:
    """The content's names, and what is stored under them. What was deleted stays so: the next."""
    for again in count():
        names = facts.names_of(content, options, again)
        reply = await _ask(bus, names, 0.0)
        if isinstance(reply, TimelineChunk):
            return names, reply
        if not reply.deleted:
            break
    return names, None


async def _send_recorded(
    bus: Bus, user: str, names: Names, profile: Profile, progress: Progress
) -> int:
    """Send the spans and the samples; how many batches of spans there were."""
    sent, number, total = 0, 0, len(profile.spans)
    waiting: list[tuple[_Letter, asyncio.Future[None]]] = []
    letters = _letters(user, names, profile)
    # Made in a thread: a batch takes some milliseconds, and the bus wants its heartbeats.
    while (letter := await asyncio.to_thread(next, letters, None)) is not None:
        waiting.append((letter, await _soon(bus, letter)))
        if len(waiting) >= WINDOW:
            await _settle(bus, waiting)
        if spans := getattr(letter.message, "count", 0):
            number, sent = number + 1, sent + spans
            progress("storing spans", sent, total)
    await _settle(bus, waiting)
    return number


def _letters(user: str, names: Names, profile: Profile) -> Iterator[_Letter]:
    place = f"{names.job_id}/1/{SOURCE}"
    subject = subjects.span(NODE, user, names.evaluation_id)
    for batch in batches.span_batches(profile, names):
        yield _Letter(subject, batch, f"{place}/{batch.batch}")
    subject = subjects.metric(NODE, user, names.evaluation_id)
    for samples in batches.sample_batches(profile, names):
        yield _Letter(subject, samples, f"{place}/metric/{samples.batch}")


async def _soon(bus: Bus, letter: _Letter) -> asyncio.Future[None]:
    return await bus.record_soon(letter.subject, letter.message, dedupe=letter.dedupe)


async def _settle(bus: Bus, waiting: list[tuple[_Letter, asyncio.Future[None]]]) -> None:
    """Return when all are in their stream; while that is full, they are sent again."""
    deadline_s = time.monotonic() + PATIENCE_S
    for letter, sent in waiting:
        while True:
            try:
                await sent
                break
            except BusFullError:
                if time.monotonic() > deadline_s:
                    raise
                await asyncio.sleep(0.25)
                sent = await _soon(bus, letter)
    waiting.clear()


async def _ask(bus: Bus, names: Names, wait_s: float) -> TimelineChunk | NotFound:
    request = GetTimeline(evaluation_id=names.evaluation_id, chunk=0, wait_s=wait_s)
    timeout_s = wait_s + 120.0
    return await bus.request(
        subjects.TIMELINE, request, TimelineChunk, NotFound, timeout_s=timeout_s
    )


async def _until_stored(bus: Bus, names: Names) -> TimelineChunk:
    """Wait until a collector has stored and assembled it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        reply = await _ask(bus, names, PATIENCE_S / 2)
        if isinstance(reply, TimelineChunk):
            return reply
        if time.monotonic() > deadline_s:
            why = "everything was sent, and the collector has not stored it; import it again later"
            raise NoAnswerError(subjects.TIMELINE, PATIENCE_S, why)
        await asyncio.sleep(0.05)
