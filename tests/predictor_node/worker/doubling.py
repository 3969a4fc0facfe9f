"""An executable that doubles the first four numbers of each row, well or with a given fault.

Copied by its tests to a name without an ending. Knows nothing of the worker: its frames are
written here, from docs/frameworks-external.md. The arguments of the model, or of describing the
file's own name (`doubling-FAULT`), say what goes wrong.
"""

import array
import os
import signal
import sys
import time
from typing import Any

import msgpack

NAME = os.path.basename(sys.argv[0])
GARBAGE = {
    "oversize": b"\xff\xff\xff\xff",
    "printed": b"Hello, world\n",
    "no messagepack": b"\0\0\0\3\xc1\xc1\xc1",
    "a list": b"\0\0\0\1\x90",
    "a key that is a list": b"\0\0\0\3\x81\x90\1",
    "half a frame": b"\0\0\1\0\x81",
}


def say(message: dict[str, Any]) -> None:
    body = msgpack.packb(message)
    write(len(body).to_bytes(4, "big") + body)


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def describe() -> dict[str, Any]:
    answer = {"said": "described", "protocol": 1, "version": "1.2.3", "devices": ["cpu"]}
    if NAME == "doubling-silent":
        time.sleep(60)
    if NAME == "doubling-newer":
        answer["protocol"] = 2
    if NAME == "doubling-nameless":
        del answer["version"]
    if NAME == "doubling-dying":
        raise SystemExit("no library here")
    return answer | {"durations": NAME != "doubling-plain", "layers": NAME == "doubling-layers"}


def open_model(command: dict[str, Any]) -> dict[str, Any]:
    arguments = command["arguments"]
    if path := arguments.get("pid_file"):
        with open(path, "w") as file:
            file.write(str(os.getpid()))
    fed = {"name": arguments.get("input", "x"), "dtype": "float32"}
    fed["shape"] = arguments.get("shape", ["batch", 4])
    made = {"name": "double", "dtype": "float32", "shape": ["batch", 4]}
    settings = {"device": command["device"], "threads": 1}
    answer = {"said": "opened", "inputs": [fed], "outputs": [made], "settings": settings}
    return answer | arguments.get("opened", {})


def doubled(tensor: dict[str, Any]) -> dict[str, Any]:
    values = array.array("f", tensor["data"])
    rows = tensor["shape"][0]
    width = len(values) // rows
    first = [values[row * width + place] * 2 for row in range(rows) for place in range(4)]
    data = array.array("f", first).tobytes()
    return {"dtype": "float32", "shape": [rows, 4], "data": data}


def predict(command: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    fault = arguments.get("fault", "")
    if fault in GARBAGE:
        write(GARBAGE[fault])
        sys.exit(0)
    match fault:
        case "exit":
            print("starting\nout of luck\n", file=sys.stderr, flush=True)
            sys.exit(3)
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if path := arguments.get("pid_file"):
                open(f"{path}.hanging", "w").close()
            time.sleep(600)
        case "mute":
            os.close(1)
            time.sleep(600)
        case "failed":
            return {"said": "failed", "kind": "input", "text": "the row is odd"}
        case "an unknown kind":
            return {"said": "failed", "kind": "moon", "text": ""}
        case "another word":
            return {"said": "opened"}
    (tensor,) = command["inputs"].values()
    made = doubled(tensor) | arguments.get("made", {})
    outputs = arguments.get("outputs", [made])
    return {"said": "predicted", "outputs": outputs, "duration_ns": arguments.get("took_ns", 600)}


def layers(calls: int) -> dict[str, Any]:
    """Two layers a call, 100–300 ns and 300–600 ns after its beginning."""
    columns = {
        "call": [call for call in range(calls) for _ in range(2)],
        "layer": [0, 1] * calls,
        "starts_ns": [100, 300] * calls,
        "durations_ns": [200, 300] * calls,
    }
    table = [{"name": "read", "operator": "Read", "output_bytes": 16}, {"name": "double"}]
    packed = {name: array.array("q", numbers).tobytes() for name, numbers in columns.items()}
    return {"said": "layers", "table": table, **packed}


def main() -> None:
    arguments: dict[str, Any] = {}
    calls = 0
    while header := sys.stdin.buffer.read(4):
        command = msgpack.unpackb(sys.stdin.buffer.read(int.from_bytes(header, "big")))
        match command["do"]:
            case "describe":
                say(describe())
            case "open":
                arguments = command["arguments"]
                say(open_model(command))
            case "predict":
                calls += 1
                say(predict(command, arguments))
            case "layers":
                say(layers(calls) | arguments.get("layers", {}))
            case "close":
                if arguments.get("fault") == "never closed":
                    time.sleep(600)
                say({"said": "closed"})


if __name__ == "__main__":
    main()
