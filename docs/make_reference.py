"""Makes the reference pages from bus/ and manifests/: `python docs/make_reference.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from bus.examples import EXAMPLES
from bus.messages import MESSAGES, PROTOCOL, Message
from bus.routes import ROUTES

HERE = Path(__file__).parent
# However this file is loaded, it finds what lies beside it.
sys.path.insert(0, str(HERE))

from make_manifest import manifest_pages  # noqa: E402
from type_words import default_of, plain, text_of, type_of  # noqa: E402

INTRODUCTION = """\
# Messages

*Made from `bus/` by `python docs/make_reference.py`; a test keeps it true. The same in machine
form: [asyncapi.json](asyncapi.json).*

Any program that speaks NATS and MessagePack can be a client or a node. Every message is one
MessagePack **map** whose key `type` holds the message's name; the other keys are its fields.
Fields with a default may be left out; unknown fields are passed over. Whole numbers of
nanoseconds since the Unix epoch are named `…_ns`, seconds `…_s`, bytes `…_bytes`. This is protocol
version {protocol}: the `v1` in every subject. Names in subjects (`<node>`, `<user>` …) hold
letters, digits, `-` and `_` only; anything else becomes `-`.

**To get an evaluation done**: choose an `evaluation_id` (32 hexadecimal digits), subscribe to
`mlms.v1.fact.*.<user>.<evaluation_id>.*`, send `Evaluate` as a request to
`mlms.v1.request.evaluate.<user>` (whose `user` must be the same, and is `anonymous` if left out),
and listen until `EvaluationFinished` or `EvaluationFailed` arrives.
[examples/publish_request.py](../examples/publish_request.py) does this in about 20 lines,
[examples/javascript-client](../examples/javascript-client/README.md) in JavaScript, with care: the
server must know of the subscription (flush) before the request is sent; a job that is lost with its
node is told again under a higher `attempt`, so that only facts of the attempts in
`EvaluationFinished.jobs` count (each also says how many `facts` there are); and where every number
is a double, times since the epoch lose their last digits while durations keep them.

A request that no service could read is answered by `Undecodable`, one that was understood and could
not be done by `Failed`.

**Spans** travel in batches: `SpansRecorded.block` is one zstd frame around a MessagePack array of
rows `[span_id, parent_id, level, name, start_ns, duration_ns, thread, correlation_id, tags]`,
where `level` counts from 0 in the list none, application, model, framework, library, system,
hardware, full, and `parent_id` 0 means: not known, found later.

## Who says what to whom

| message | from → to | subject | carried by | answers |
|---|---|---|---|---|
"""


def messages_page() -> str:
    """docs/messages.md as text."""
    lines = [INTRODUCTION.format(protocol=PROTOCOL)]
    for route in ROUTES:
        names = ", ".join(f"[{kind.__name__}](#{kind.__name__.lower()})" for kind in route.says)
        answers = ", ".join(f"[{name}](#{name.lower()})" for name in route.answers)
        lines.append(
            f"| {names} | {route.sender} → {route.receiver} | `{route.subject}` "
            f"| {route.carrier} | {answers} |\n"
        )
    lines.append("\n## Every message\n")
    for kind in MESSAGES:
        example = json.dumps(plain(EXAMPLES[kind]), ensure_ascii=False, indent=1)
        lines.append(_section(kind))
        lines.append(
            f"\n<details><summary>example</summary>\n\n```json\n{example}\n```\n</details>\n"
        )
    lines.append("\n## Types inside messages\n")
    for struct in _inner_types():
        lines.append(_section(struct))
    return "".join(lines)


def _section(kind: type) -> str:
    """A message or a type inside one: what it is, and its fields."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    lines = [f"\n### {kind.__name__}\n\n{text_of(kind)}\n"]
    if info.fields:
        lines.append("\n| field | type | default |\n|---|---|---|\n")
    for field in info.fields:
        default = "required" if field.required else f"`{default_of(field)}`"
        lines.append(f"| `{field.name}` | {type_of(field.type)} | {default} |\n")
    return "".join(lines)


def _inner_types() -> list[type]:
    """Every struct that messages hold and that is no message itself, as it is met."""
    found: dict[type, None] = {}

    def meet(kind: msgspec.inspect.Type) -> None:
        match kind:
            case msgspec.inspect.StructType(cls=cls, fields=fields):
                if not issubclass(cls, Message):
                    if cls in found:
                        return
                    found[cls] = None
                for field in fields:
                    meet(field.type)
            case msgspec.inspect.ListType(item_type=item):
                meet(item)
            case msgspec.inspect.DictType(value_type=value):
                meet(value)
            case msgspec.inspect.UnionType(types=types):
                for one in types:
                    meet(one)

    for message in MESSAGES:
        meet(msgspec.inspect.type_info(message))
    return list(found)


def asyncapi() -> dict[str, Any]:
    """An AsyncAPI 3 document of every route."""
    _, schemas = msgspec.json.schema_components(
        MESSAGES, ref_template="#/components/schemas/{name}"
    )
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for number, route in enumerate(ROUTES):
        name = f"c{number}_{route.says[0].__name__}"
        names = [kind.__name__ for kind in route.says] + list(route.answers)
        channels[name] = {
            "address": route.subject.replace("<", "{").replace(">", "}"),
            "description": f"{route.sender} to {route.receiver}; {route.carrier}",
            "messages": {n: {"$ref": f"#/components/messages/{n}"} for n in names},
            "parameters": {
                part.strip("<>"): {} for part in route.subject.split(".") if part.startswith("<")
            },
        }
        operations[f"say_{name}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [
                {"$ref": f"#/channels/{name}/messages/{kind.__name__}"} for kind in route.says
            ],
        }
        if route.answers:
            operations[f"say_{name}"]["reply"] = {
                "messages": [{"$ref": f"#/channels/{name}/messages/{a}"} for a in route.answers],
                "channel": {"$ref": f"#/channels/{name}"},
            }
    messages = {
        kind.__name__: {
            "contentType": "application/msgpack",
            "summary": text_of(kind).splitlines()[0],
            "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
            "examples": [{"payload": plain(EXAMPLES[kind])}],
        }
        for kind in MESSAGES
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "MLModelScope",
            "version": f"{PROTOCOL}.0.0",
            "description": "What the services say to each other. Payloads are MessagePack maps; "
            "the schemas describe them in JSON's terms (bytes are base64 there).",
        },
        "defaultContentType": "application/msgpack",
        "servers": {"bus": {"host": "127.0.0.1:4222", "protocol": "nats"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def pages() -> dict[Path, str]:
    """Every generated file and what it must hold."""
    return {
        HERE / "messages.md": messages_page(),
        HERE / "asyncapi.json": json.dumps(asyncapi(), ensure_ascii=False, indent=1) + "\n",
        **manifest_pages(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
