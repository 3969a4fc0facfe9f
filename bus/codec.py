"""Message <-> bytes: MessagePack maps, typed and validated; a span batch's block is zstd inside."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, TypeVar, Union

import msgspec
import zstandard
from msgspec.structs import replace

from bus.errors import ProtocolError
from bus.messages import MESSAGES, DatasetManifest, Manifest, Message, Span

M = TypeVar("M", bound=Message)

BLOCK_LIMIT_BYTES = 64 * 1024 * 1024
"""What one block may grow to when opened: a small frame must not fill the memory."""

_encoder = msgspec.msgpack.Encoder()
_any_message: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Union[MESSAGES])  # noqa: UP007
_spans = msgspec.msgpack.Decoder(list[Span])


def encode(message: Message) -> bytes:
    """One message as a MessagePack map whose `type` is its class name."""
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """The message in `data`; ProtocolError says which field is wrong and how."""
    try:
        return _any_message.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ProtocolError(f"unreadable message of {len(data)} bytes: {exc}") from exc


def decode_as(data: bytes, *kinds: type[M]) -> M:
    """The message in `data`, which must be one of `kinds`."""
    message = decode(data)
    if not isinstance(message, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ProtocolError(f"expected {wanted}, got {type(message).__name__}")
    return message


def encode_rows(spans: Sequence[Span]) -> bytes:
    """Spans as a MessagePack array of rows: what lies inside a block."""
    return _encoder.encode(spans)


def pack_rows(rows: Sequence[Span] | bytes) -> bytes:
    """Span rows (or the MessagePack array of them) as a block: one zstd frame, level 1."""
    return zstandard.compress(rows if isinstance(rows, bytes) else encode_rows(rows), 1)


def open_block(block: bytes) -> bytes:
    """The MessagePack array inside a block."""
    try:
        size = zstandard.frame_content_size(block)
        if not 0 <= size <= BLOCK_LIMIT_BYTES:
            raise ProtocolError(f"a span block of {size} bytes: expected 0 to {BLOCK_LIMIT_BYTES}")
        return zstandard.decompress(block, max_output_size=BLOCK_LIMIT_BYTES)
    except zstandard.ZstdError as exc:
        raise ProtocolError(f"unreadable span block of {len(block)} bytes: {exc}") from exc


def unpack_rows(block: bytes) -> list[Span]:
    """The spans of a block."""
    try:
        return _spans.decode(open_block(block))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ProtocolError(f"unreadable span rows: {exc}") from exc


def digest(value: Any) -> str:
    """sha256 of a value's canonical JSON."""
    return "sha256:" + sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def content_digest(manifest: Manifest | DatasetManifest) -> str:
    """What results are keyed by: who owns and who sees a model does not change what it computes."""
    return digest(replace(manifest, owner="", groups=[], visibility="public", hidden=False))
