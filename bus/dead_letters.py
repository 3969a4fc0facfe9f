"""Messages that no service could deal with: kept for people to read, and to be sent again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg

from bus import subjects
from bus.buckets import patiently
from bus.codec import decode
from bus.errors import BusError, InputError, NoAnswerError, ProtocolError
from bus.messages import Message

REPLAYED = "Mlms-Replayed"
"""The header of a message that was sent again: the number of its letter."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One message set aside: where it was said, why it lies here, who could not deal with it."""

    number: int
    at_ns: int
    subject: str
    reason: str
    consumer: str
    data: bytes

    @property
    def kind(self) -> str:
        """The type that it says it has, or nothing."""
        read = self.read()
        name = read.get("type", "") if isinstance(read, dict) else ""
        return name if isinstance(name, str) else ""

    def read(self) -> Any:
        """What it holds as far as it can be read, as plain values; None: it is no MessagePack."""
        try:
            return msgspec.msgpack.decode(self.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def message(self) -> Message | None:
        """The message, where today's services can read it."""
        try:
            return decode(self.data)
        except ProtocolError:
            return None


class DeadLetters:
    """The stream of messages that were set aside."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def all(self) -> list[Letter]:
        """Every letter, oldest first."""
        with _mapped():
            held = (await patiently(lambda: self._js.stream_info(subjects.DEAD_STREAM))).state
            found: list[Letter] = []
            number = held.first_seq
            while held.messages and number <= held.last_seq:
                try:
                    raw = await self._next(number)
                except nats.js.errors.NotFoundError:
                    break  # the last ones have gone meanwhile
                found.append(_letter(raw))
                number = (raw.seq or number) + 1
        return found

    async def get(self, number: int) -> Letter:
        """One letter; InputError where there is none of that number."""
        with _mapped():
            try:
                raw = await patiently(
                    lambda: self._js.get_msg(subjects.DEAD_STREAM, seq=max(number, 1))
                )
            except nats.js.errors.NotFoundError as exc:
                there = [letter.number for letter in await self.all()]
                span = f"there are {there[0]} to {there[-1]}" if there else "there are none"
                raise InputError(f"no dead letter {number}: {span}") from exc
        return _letter(raw)

    async def replay(self, letter: Letter) -> None:
        """Send it again where it was said first; once its stream has it, it is no letter any more.

        A second time is harmless: its stream keeps it once, and whoever hears it knows its ids.
        """
        headers = {REPLAYED: str(letter.number), "Nats-Msg-Id": f"replay.{letter.number}"}
        with _mapped():
            await patiently(lambda: self._js.publish(letter.subject, letter.data, headers=headers))
            try:
                await self._js.delete_msg(subjects.DEAD_STREAM, letter.number)
            except nats.js.errors.NotFoundError:
                pass  # somebody else replayed it too

    async def _next(self, number: int) -> RawStreamMsg:
        return await patiently(
            lambda: self._js.get_msg(
                subjects.DEAD_STREAM, seq=number, subject=subjects.DEAD, next=True
            )
        )


def _letter(raw: RawStreamMsg) -> Letter:
    headers = raw.headers or {}
    return Letter(
        number=raw.seq or 0,
        at_ns=int(raw.time.timestamp() * 1e9) if raw.time else 0,
        subject=(raw.subject or "").removeprefix(subjects.dead("")),
        reason=headers.get("Mlms-Reason", ""),
        consumer=headers.get("Mlms-Consumer", ""),
        data=raw.data or b"",
    )


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except nats.js.errors.NotFoundError as exc:
        raise BusError(
            f"this bus has no stream {subjects.DEAD_STREAM}: has any service of ours started there?"
        ) from exc
    except (nats.errors.TimeoutError, TimeoutError) as exc:
        raise NoAnswerError(subjects.DEAD_STREAM, 10.0, "JetStream did not answer") from exc
    except (nats.errors.Error, OSError) as exc:
        raise BusError(f"{subjects.DEAD_STREAM}: {exc or type(exc).__name__}") from exc
