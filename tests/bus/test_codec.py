"""Every message survives the wire; damaged bytes raise ProtocolError and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_type_hints

import msgpack
import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bus import codec
from bus.errors import ProtocolError
from bus.examples import EXAMPLES
from bus.messages import MESSAGES, PROTOCOL, Evaluate, Manifest, Message, Progress, Span

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_every_message_survives_the_wire(kind: type[Message]) -> None:
    example = EXAMPLES[kind]
    assert codec.decode(codec.encode(example)) == example


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_any_language_can_read_and_write_it(kind: type[Message]) -> None:
    """Another MessagePack library reads a map with a `type`, and its bytes are read by us."""
    as_map = msgpack.unpackb(codec.encode(EXAMPLES[kind]))
    assert as_map["type"] == kind.__name__
    assert codec.decode(msgpack.packb(as_map)) == EXAMPLES[kind]


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_golden_bytes_of_every_protocol_decode_for_ever(kind: type[Message]) -> None:
    for folder in sorted(GOLDEN.iterdir()):
        golden = folder / f"{kind.__name__}.hex"
        if folder.name == f"v{PROTOCOL}":
            assert golden.exists(), f"record {golden.name}: python tests/bus/record_golden.py"
        if golden.exists():
            codec.decode_as(bytes.fromhex(golden.read_text()), kind)


def test_no_message_is_forgotten() -> None:
    every = {kind for kind in _subclasses(Message) if not kind.__subclasses__()}
    assert every == set(MESSAGES)
    assert set(EXAMPLES) == set(MESSAGES)


def _subclasses(kind: type) -> set[type]:
    return {kind} | {found for sub in kind.__subclasses__() for found in _subclasses(sub)}


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_every_field_has_its_unit_in_its_name(kind: type[Message]) -> None:
    for name, hint in get_type_hints(kind).items():
        if hint in (int, float) and any(w in name for w in ("time", "duration", "memory")):
            assert name.endswith(("_ns", "_s", "_bytes")), f"{kind.__name__}.{name}"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "truncated"),
        (b"\xff", "Expected `object`"),
        (msgpack.packb({"type": "Nonsense"}), "Nonsense"),
        (msgpack.packb({"evaluation_id": "x"}), "type"),
        (msgpack.packb({"type": "Evaluate"}), "evaluation_id"),
        (
            msgpack.packb({"type": "Evaluate", "evaluation_id": "x", "queries": "many"}),
            r"\$.queries",
        ),
        (msgpack.packb({"type": "Evaluate", "evaluation_id": "x", "level": "deep"}), r"\$.level"),
    ],
)
def test_a_bad_field_is_refused_with_its_path(data: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        codec.decode(data)


@given(st.binary(max_size=200))
def test_noise_raises_protocol_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        codec.decode(data)


@given(st.data())
@settings(max_examples=200)
def test_damaged_messages_never_raise_anything_else(data: Any) -> None:
    kind = data.draw(st.sampled_from(MESSAGES))
    raw = bytearray(codec.encode(EXAMPLES[kind]))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        codec.decode(bytes(raw))
    except ProtocolError:
        pass


def test_a_field_of_a_newer_version_is_passed_over() -> None:
    as_map = msgpack.unpackb(codec.encode(EXAMPLES[Progress]))
    assert codec.decode(msgpack.packb(as_map | {"from_the_future": 1})) == EXAMPLES[Progress]


SPANS = st.lists(
    st.builds(
        Span,
        span_id=st.integers(1, 2**63 - 1),
        parent_id=st.integers(0, 2**63 - 1),
        level=st.integers(0, 7),
        name=st.text(max_size=20),
        start_ns=st.integers(0, 2**62),
        duration_ns=st.integers(0, 2**40),
        thread=st.integers(0, 2**32),
        correlation_id=st.integers(0, 2**32),
        tags=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=3),
    ).filter(lambda span: all(-(2**63) <= v < 2**64 for v in span.tags.values() if type(v) is int)),
    max_size=30,
)


@given(SPANS)
def test_spans_survive_a_block(spans: list[Span]) -> None:
    block = codec.pack_rows(spans)
    assert codec.unpack_rows(block) == spans
    assert codec.pack_rows(codec.open_block(block)) == block


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (b"", "unreadable span block|a span block"),
        (b"junk", "unreadable span block|a span block"),
        (zstandard.compress(b"\xc0"), "unreadable span rows"),
        (zstandard.compress(msgpack.packb([[1, 2, 3]])), "unreadable span rows"),
        # A kilobyte that opens to a gigabyte must not fill the memory.
        (zstandard.compress(bytes(codec.BLOCK_LIMIT_BYTES + 1)), "a span block of"),
    ],
)
def test_a_damaged_block_is_named(block: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        codec.unpack_rows(block)


def test_digest_does_not_depend_on_the_order_of_fields() -> None:
    one = msgspec.convert({"name": "a", "version": "1.0.0", **_rest(1)}, Manifest)
    two = msgspec.convert({**_rest(2), "version": "1.0.0", "name": "a"}, Manifest)
    assert codec.digest(one) == codec.digest(two)
    changed = msgspec.structs.replace(one, version="1.0.1")
    assert codec.digest(one) != codec.digest(changed)


def _rest(order: int) -> dict[str, Any]:
    attributes = {"a": 1, "b": 2} if order == 1 else {"b": 2, "a": 1}
    return {"framework": {"name": "x"}, "model": {}, "attributes": attributes}


def test_evaluate_is_small() -> None:
    """What a stranger has to send is one id and a name."""
    smallest = msgpack.packb({"type": "Evaluate", "evaluation_id": "e" * 32, "model": "AlexNet"})
    message = codec.decode_as(smallest, Evaluate)
    assert (message.batch_sizes, message.queries, message.level) == ([1], 100, "model")
    assert json.loads(msgspec.json.encode(message))["type"] == "Evaluate"
