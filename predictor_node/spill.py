"""What the spans' stream does not take now lies in files of a bounded size, and is sent later.

Files of a few megabytes, written to their end and read from their beginning: a record is three
lengths, then the subject, the id that makes a second sending harmless, and the message. What a
node left behind when it died is sent by its next life.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bus.codec import decode
from bus.connection import Bus
from bus.errors import BusError, ProtocolError
from bus.messages import Message

log = logging.getLogger(__name__)

HEAD = struct.Struct(">HHI")
FILE_BYTES = 4 << 20
LOOK_S = 0.5
"""How often the stream is asked whether it takes something again."""


class Spilled(NamedTuple):
    """One message on its way through a file."""

    subject: str
    dedupe: str
    data: bytes


class Spill:
    """The messages of all attempts that wait; at most `limit_bytes` of them."""

    def __init__(self, folder: Path, limit_bytes: int, counters: Counter[str]) -> None:
        self._folder, self._limit, self._counters = folder, limit_bytes, counters
        self._files: dict[Path, int] = {}
        self._writing: BinaryIO | None = None
        self._sent = 0
        """Records of the first file that were sent already."""
        self._wake = asyncio.Event()
        self._waiting: Counter[str] = Counter()
        self._spans: dict[str, tuple[str, int]] = {}
        for path in sorted(folder.glob("*.spilled")) if folder.is_dir() else []:
            self._files[path] = path.stat().st_size

    @property
    def active(self) -> bool:
        """Whether anything waits: what comes now must wait behind it."""
        return bool(self._files)

    @property
    def held_bytes(self) -> int:
        """How much waits."""
        return sum(self._files.values())

    def waiting(self, whose: str) -> int:
        """How many spans of an attempt wait here."""
        return self._waiting[whose]

    def keep(self, record: Spilled, whose: str, spans: int) -> bool:
        """Write a message down; False where the limit forbids it, and it is lost."""
        subject, dedupe = record.subject.encode(), record.dedupe.encode()
        head = HEAD.pack(len(subject), len(dedupe), len(record.data))
        size = len(head) + len(subject) + len(dedupe) + len(record.data)
        if self.held_bytes + size > self._limit or not self._write(head, subject, dedupe, record):
            self._counters["spill_dropped_spans"] += spans
            return False
        if not self._counters["spilled_batches"]:
            log.warning("the spans' stream takes nothing now: spilling to %s", self._folder)
        self._counters["spilled_batches"] += 1
        self._waiting[whose] += spans
        self._spans[record.dedupe] = (whose, spans)
        self._wake.set()
        return True

    def _write(self, head: bytes, subject: bytes, dedupe: bytes, record: Spilled) -> bool:
        try:
            path = self._open_file()
            assert self._writing is not None
            for part in (head, subject, dedupe, record.data):
                self._writing.write(part)
                self._files[path] += len(part)
            self._writing.flush()
        except OSError as exc:
            log.error("cannot spill", extra={"folder": str(self._folder), "error": str(exc)})
            return False
        return True

    def _open_file(self) -> Path:
        """The last file while it is short and open, else a new one."""
        last = next(reversed(self._files), None)
        if self._writing is not None and last is not None and self._files[last] < FILE_BYTES:
            return last
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        number = int(last.stem) + 1 if last is not None else 0
        path = self._folder / f"{number:08}.spilled"
        self._writing = path.open("wb")
        self._files[path] = 0
        return path

    def close(self) -> None:
        """Let go of the file that is being written; what it holds stays."""
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    async def run(self, bus: Bus) -> None:
        """Send what waits, oldest first, whenever the stream takes it; until cancelled."""
        try:
            while True:
                if not self.active:
                    self._wake.clear()
                    await self._wake.wait()
                await asyncio.sleep(LOOK_S)
                while self.active and await self._send_first(bus):
                    pass
        finally:
            self.close()

    async def settle(self, whose: str, patience_s: float) -> None:
        """Wait a little for an attempt's messages to be sent."""
        deadline_s = asyncio.get_running_loop().time() + patience_s
        while self.waiting(whose) and asyncio.get_running_loop().time() < deadline_s:
            await asyncio.sleep(LOOK_S / 5)

    async def _send_first(self, bus: Bus) -> bool:
        """Send the oldest file; False where the stream stopped it."""
        path = next(iter(self._files))
        if len(self._files) == 1:
            self.close()  # what comes now goes to the next one
        for record in list(_records(path))[self._sent :]:
            try:
                await bus.record(record.subject, _message(record), dedupe=record.dedupe)
                self._counters["resent_batches"] += 1
            except ProtocolError as exc:
                log.error("spilled message damaged", extra={"file": str(path), "error": str(exc)})
            except BusError as exc:
                log.debug("still spilling", extra={"error": str(exc)})
                return False
            self._sent += 1
            whose, spans = self._spans.pop(record.dedupe, ("", 0))
            self._waiting[whose] -= spans
        self._sent = 0
        path.unlink(missing_ok=True)
        del self._files[path]
        self._waiting = +self._waiting
        return True


def _message(record: Spilled) -> Message:
    return decode(record.data)


def _records(path: Path) -> Iterator[Spilled]:
    """The whole records of a file; one that was cut short when the node died is none."""
    content = path.read_bytes()
    at = 0
    while at + HEAD.size <= len(content):
        sizes = HEAD.unpack_from(content, at)
        at += HEAD.size
        if at + sum(sizes) > len(content):
            return
        parts = []
        for size in sizes:
            parts.append(content[at : at + size])
            at += size
        subject, dedupe, data = parts
        yield Spilled(subject.decode(errors="replace"), dedupe.decode(errors="replace"), data)
