"""Key-value buckets and the object store: what is true now, and what is large."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import Header, RawStreamMsg
from nats.js.kv import KV_DEL, KV_OP, KeyValue
from nats.js.object_store import ObjectStore

from bus import subjects
from bus.codec import decode, encode
from bus.errors import AssetError, BusError, StaleError
from bus.messages import Message

log = logging.getLogger(__name__)

LEADERLESS_S = 5.0
LEADERLESS = (
    nats.errors.NoRespondersError,
    nats.js.errors.NoStreamResponseError,
    nats.js.errors.ServiceUnavailableError,
)
FULL_CODES = (10047, 10077, 10122)  # no resources; too many messages or bytes in the stream
WRONG_LAST = 10071  # what nats-py calls KeyWrongLastSequenceError, but not of a delete
T = TypeVar("T")
Seen = Callable[[str, Message | None, int], None]


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The result of a JetStream call, tried again while a cluster chooses a new leader."""
    deadline_s = time.monotonic() + LEADERLESS_S
    while True:
        try:
            return await call()
        except LEADERLESS as exc:
            # A stream that is full comes as unavailable too: its own, and no election mends it.
            full = getattr(exc, "err_code", None) in FULL_CODES
            if full or time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(0.2)


class Bucket:
    """Messages under keys; every write may be a compare-and-set on the revision."""

    def __init__(self, kv: KeyValue, name: str, js: JetStreamContext) -> None:
        self._kv, self._name, self._js = kv, name, js

    async def get(self, key: str) -> tuple[Message, int] | None:
        """The message under `key` and its revision, or None."""
        try:
            entry = await patiently(lambda: self._kv.get(key))
        except nats.js.errors.KeyNotFoundError:
            return None
        except (nats.errors.Error, TimeoutError) as exc:
            raise BusError(f"{self._name}/{key}: {exc}") from exc
        if not entry.value:
            return None  # it expired: nats-py takes the mark that this leaves for a value
        return decode(entry.value), entry.revision or 0

    async def create(self, key: str, message: Message) -> int:
        """Write `key`, which must not be there yet; the revision. StaleError if it is."""
        try:
            return await patiently(lambda: self._kv.create(key, encode(message)))
        except nats.js.errors.KeyWrongLastSequenceError as exc:
            if revision := await self._expired(key):
                return await self.update(key, message, revision)
            raise StaleError(self._name, key) from exc
        except (nats.errors.Error, TimeoutError) as exc:
            raise BusError(f"{self._name}/{key}: {exc}") from exc

    async def _expired(self, key: str) -> int:
        """The revision of the mark that an expired key leaves; 0: it has a value, or is gone."""
        try:
            entry = await patiently(lambda: self._kv.get(key))
        except (nats.errors.Error, TimeoutError):
            return 0
        return 0 if entry.value else entry.revision or 0

    async def update(self, key: str, message: Message, revision: int) -> int:
        """Write `key` if `revision` is still the newest; the new revision, or StaleError."""
        try:
            return await patiently(lambda: self._kv.update(key, encode(message), last=revision))
        except nats.js.errors.KeyWrongLastSequenceError as exc:
            raise StaleError(self._name, key) from exc
        except (nats.errors.Error, TimeoutError) as exc:
            raise BusError(f"{self._name}/{key}: {exc}") from exc

    async def put(self, key: str, message: Message) -> int:
        """Write `key` whatever is there; the revision."""
        try:
            return await patiently(lambda: self._kv.put(key, encode(message)))
        except (nats.errors.Error, TimeoutError) as exc:
            raise BusError(f"{self._name}/{key}: {exc}") from exc

    async def delete(self, key: str, revision: int = 0) -> int:
        """Remove `key`; watchers see None. revision: only if it is still the newest.

        Returns the revision of the mark that is left: `update` of it writes the key again.
        """
        # Not KeyValue.delete: it does not say which revision the mark is.
        subject, headers = subjects.key_change(self._name, key), {KV_OP: KV_DEL}
        if revision:
            headers[Header.EXPECTED_LAST_SUBJECT_SEQUENCE] = str(revision)
        try:
            return (await patiently(lambda: self._js.publish(subject, headers=headers))).seq
        except nats.js.errors.BadRequestError as exc:
            if exc.err_code == WRONG_LAST:
                raise StaleError(self._name, key) from exc
            raise BusError(f"{self._name}/{key}: {exc}") from exc
        except (nats.errors.Error, TimeoutError) as exc:
            raise BusError(f"{self._name}/{key}: {exc}") from exc

    async def last(self) -> int:
        """The revision of the last change of any key; 0: there was none."""
        try:
            status = await patiently(self._kv.status)
        except (nats.errors.Error, TimeoutError) as exc:
            raise BusError(f"{self._name}: {exc}") from exc
        return status.stream_info.state.last_seq

    async def watch(self, seen: Seen, pattern: str = ">") -> Watch:
        """Tell `seen(key, message or None, revision)` what is there, then every change.

        Returns when the current keys have been told.
        """
        watch = Watch(await self._kv.watch(pattern), seen)
        await watch.start()
        return watch


class Watch:
    """A watched bucket."""

    def __init__(self, watcher: KeyValue.KeyWatcher, seen: Seen) -> None:
        self._watcher, self._seen = watcher, seen
        self._ready, self._moved = asyncio.Event(), asyncio.Event()
        self._revision = 0

    async def start(self) -> None:
        """Begin, and return when the current keys have been told."""
        self._task = asyncio.create_task(self._follow())
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait([self._task, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._task.result()

    async def until(self, revision: int) -> None:
        """Return when every change up to this one has been told."""
        while self._revision < revision:
            self._moved.clear()
            await self._moved.wait()

    async def stop(self) -> None:
        """Watch no more."""
        self._task.cancel()
        try:
            await self._watcher.stop()
        except (nats.errors.Error, ValueError):
            pass  # the connection is gone, and the watcher with it

    async def _follow(self) -> None:
        async for entry in self._watcher:
            if entry is None:
                self._ready.set()
                continue
            try:
                gone = entry.operation is not None or not entry.value
                message = None if gone else decode(entry.value or b"")
                self._seen(entry.key, message, entry.revision or 0)
            except Exception:
                # One bad value, or one bad handler, must not end the watching of all others.
                log.exception("change passed over", extra={"key": entry.key})
            self._revision = max(self._revision, entry.revision or 0)
            self._moved.set()


class Objects:
    """Files under names, in chunks, each with its sha256."""

    def __init__(self, store: ObjectStore, js: JetStreamContext, name: str) -> None:
        self._store, self._js, self._stream = store, js, f"OBJ_{name}"

    async def has(self, name: str) -> bool:
        """Whether there is an object of that name."""
        try:
            await self._store.get_info(name)
        except nats.js.errors.NotFoundError:
            return False
        return True

    async def size_bytes(self, name: str) -> int:
        """How large an object is; 0: there is none of that name."""
        try:
            return (await self._store.get_info(name)).size or 0
        except nats.js.errors.NotFoundError:
            return 0
        except (nats.errors.Error, TimeoutError) as exc:
            raise BusError(f"object {name}: {exc}") from exc

    async def put(self, name: str, content: Path | bytes) -> None:
        """Store a file or some bytes under `name`."""
        try:
            if isinstance(content, bytes):
                await self._store.put(name, io.BytesIO(content))
            else:
                with content.open("rb") as file:
                    await self._store.put(name, file)
        except (nats.errors.Error, TimeoutError) as exc:
            raise BusError(f"object {name}: {exc}") from exc

    async def get(self, name: str, into: BinaryIO) -> int:
        """Write an object into a file; its size in bytes. AssetError if it is not there."""
        # Not ObjectStore.get: it gathers all chunks in memory, in quadratic time.
        try:
            info = await self._store.get_info(name)
        except nats.js.errors.NotFoundError as exc:
            raise AssetError(f"the bus's object store holds no {name!r}") from exc
        if not info.size:
            return 0
        sha256, chunk = hashlib.sha256(), f"$O.{info.bucket}.C.{info.nuid}"
        sequence = 0
        for _ in range(info.chunks or 0):
            # One after the other, for no consumer has to be made: who may make one can have it
            # deliver to where it may not speak itself.
            found = await self._chunk(name, chunk, sequence + 1)
            into.write(found.data or b"")
            sha256.update(found.data or b"")
            sequence = found.seq or 0
        wanted = base64.urlsafe_b64decode((info.digest or "").split("=", 1)[-1])
        if sha256.digest() != wanted:
            raise AssetError(f"object {name!r} arrived damaged: its sha256 differs")
        return info.size

    async def _chunk(self, name: str, subject: str, sequence: int) -> RawStreamMsg:
        """The first message of a chunk's subject from `sequence` on."""
        try:
            return await patiently(
                lambda: self._js.get_msg(
                    self._stream, seq=sequence, subject=subject, direct=True, next=True
                )
            )
        except (nats.errors.Error, TimeoutError) as exc:
            raise BusError(f"object {name}: the chunks did not all arrive ({exc})") from exc
